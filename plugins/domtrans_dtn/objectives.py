"""Other adversarial objectives for a ternary D, and the gradient penalty.

The paper's D has three classes: 1, G(source); 2, G(target); 3, real target. Objectives for two classes are generalised so:

- least squares and hinge treat each of D's three outputs as a binary classifier of its own class;
- the relativistic objective and the gradient penalty use the log odds of a real image, D_3 against D_1 and D_2 together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import Tensor

from domtrans import Discriminator, DomtransError, Loss, Outputs
from domtrans_dtn.losses import KINDS, sum_of_present

REAL = Discriminator.REAL_TARGET
FAKE_FIELDS = ("source_fake_logits", "target_fake_logits")
FAKE_KINDS = (Discriminator.FAKE_SOURCE, Discriminator.FAKE_TARGET)


def judged(outputs: Outputs, fields: Iterable[str]) -> Iterator[tuple[Tensor, int]]:
    """The logits [B, 3] of each kind of image in this update, and the kind."""
    return ((logits, KINDS[name]) for name in fields if (logits := getattr(outputs, name)) is not None)


def signs(logits: Tensor, kind: int) -> Tensor:
    """1 in the column of a class, -1 in the others; like the logits [B, 3]."""
    columns = torch.arange(logits.shape[1], device=logits.device)
    return torch.where(columns == kind, 1.0, -1.0).to(logits.dtype).expand_as(logits)


def log_odds_of_real(logits: Tensor) -> Tensor:
    """log D_3 - log(D_1 + D_2) of logits [B, 3]: [B]."""
    return logits[:, REAL] - torch.stack([logits[:, kind] for kind in FAKE_KINDS], 1).logsumexp(1)


class LeastSquaresDiscriminator(Loss):
    """Each output of D regresses 1 for images of its own class and 0 for others (LSGAN: Mao et al., 2017, equation 2).

    The sum over the three kinds of images of E sum_j (z_j - [j is the kind])^2 / 2.
    """

    reads = frozenset(KINDS)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the kinds of images in this update."""
        return sum_of_present(
            *((logits - (signs(logits, kind) + 1) / 2).square().sum(1).mean() / 2 for logits, kind in judged(outputs, KINDS))
        )


class LeastSquaresGenerator(Loss):
    """D's output for real images should be 1 for G(x): E (z_3 - 1)^2 / 2 over both domains (LSGAN, equation 2)."""

    reads = frozenset(FAKE_FIELDS)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the domains in this update."""
        return sum_of_present(*((logits[:, REAL] - 1).square().mean() / 2 for logits, _ in judged(outputs, FAKE_FIELDS)))


class HingeDiscriminator(Loss):
    """Each output of D is at least 1 for images of its own class and at most -1 for others (Lim and Ye, 2017, equation 6).

    The sum over the three kinds of images of E sum_j max(0, 1 - s_j z_j), with s_j = 1 for the kind and -1 otherwise.
    """

    reads = frozenset(KINDS)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the kinds of images in this update."""
        return sum_of_present(
            *(F.relu(1 - signs(logits, kind) * logits).sum(1).mean() for logits, kind in judged(outputs, KINDS))
        )


class HingeGenerator(Loss):
    """D's output for real images should be large for G(x): -E z_3 over both domains (Lim and Ye, 2017, equation 7)."""

    reads = frozenset(FAKE_FIELDS)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the domains in this update."""
        return sum_of_present(*(-logits[:, REAL].mean() for logits, _ in judged(outputs, FAKE_FIELDS)))


def paired_log_odds(outputs: Outputs, name: str) -> tuple[list[Tensor], Tensor]:
    """The log odds of the fakes of every domain, each [B], and of the real images that they are paired with, [B]."""
    fakes = [log_odds_of_real(logits) for logits, _ in judged(outputs, FAKE_FIELDS)]
    if outputs.target_logits is None or not fakes:
        raise DomtransError(f"the loss '{name}' compares real and generated images of one batch; set train.updates=joint")
    return fakes, log_odds_of_real(outputs.target_logits)


class RelativisticDiscriminator(Loss):
    """Real images are more likely real than generated ones: E softplus(c(G(x)) - c(t)), summed over both domains.

    c is the log odds of a real image. The pairs are those of the batch (Jolicoeur-Martineau, 2019; R3GAN: Huang et al., 2024,
    equation 2). So that D still tells G(source) from G(target), the cross-entropy of these two classes is added.

    Args:
        kinds: Weight of that cross-entropy.
    """

    reads = frozenset(KINDS)

    def __init__(self, *, kinds: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.kinds = kinds

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over both domains. Raises DomtransError for an update of one domain."""
        fakes, real = paired_log_odds(outputs, "relativistic-discriminator")
        total = sum_of_present(*(F.softplus(fake - real).mean() for fake in fakes))
        for logits, kind in judged(outputs, FAKE_FIELDS if self.kinds else ()):
            between = torch.stack([logits[:, each] for each in FAKE_KINDS], 1).log_softmax(1)
            total = total - self.kinds * between[:, FAKE_KINDS.index(kind)].mean()
        return total


class RelativisticGenerator(Loss):
    """Generated images are more likely real than real ones: E softplus(c(t) - c(G(x))), summed over both domains.

    See ``relativistic-discriminator``. D also judges the real images of g's batch for it.
    """

    reads = frozenset(KINDS)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over both domains. Raises DomtransError for an update of one domain."""
        fakes, real = paired_log_odds(outputs, "relativistic-generator")
        return sum_of_present(*(F.softplus(real - fake).mean() for fake in fakes))


class GradientPenalty(Loss):
    """E |grad c(x)|^2 / 2, for a D that is flat around its images (R1 and R2: Mescheder, Geiger, Nowozin, 2018, equation 9).

    c is the log odds of a real image; of a D of patches, the mean over the patches. grad is its gradient with respect to the
    image, in [-1, 1]; the square is summed over pixels. The weight of the term is gamma of the paper. It trains D only, so it
    belongs to ``discriminator_losses``.

    Args:
        images: "real" penalises real target images (R1), "generated" G(x) of both domains (R2).
    """

    def __init__(self, *, images: Literal["real", "generated"] = "real") -> None:
        super().__init__()
        self.fields = ("target",) if images == "real" else ("source_fake", "target_fake")
        self.reads = frozenset({*self.fields, "discriminate"})

    def forward(self, outputs: Outputs) -> Tensor:
        """The mean over images, summed over the domains in this update. Raises DomtransError among the losses of g."""
        if outputs.discriminate is None:
            raise DomtransError("the loss 'gradient-penalty' trains D; move it from generator_losses to discriminator_losses")
        penalties = []
        for name in self.fields:
            images = getattr(outputs, name)
            if images is not None:
                images = images.detach().requires_grad_(True)
                odds = log_odds_of_real(outputs.discriminate(images, name.removesuffix("_fake")))
                of_images = odds.view(len(images), -1).mean(1)
                (gradient,) = torch.autograd.grad(of_images.sum(), images, create_graph=True)
                penalties.append(gradient.float().square().sum((1, 2, 3)).mean() / 2)
        return sum_of_present(*penalties)
