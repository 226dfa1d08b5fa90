"""The terms of L_D and L_G (equations 3 to 7 of the paper)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor

from domtrans import Discriminator, Distance, DistanceOption, DomtransError, Loss, Outputs

Smoothing = Annotated[float, Field(ge=0, lt=1)]
Fakes = Literal["both", "source"]
"""Which generated images the adversarial loss uses; "source" is the baseline of the paper's section 3."""

KINDS = {
    "source_fake_logits": Discriminator.FAKE_SOURCE,
    "target_fake_logits": Discriminator.FAKE_TARGET,
    "target_logits": Discriminator.REAL_TARGET,
}
"""The true class of the images behind each field of D's logits."""


def negative_log_likelihood(logits: Tensor | None, kind: int, smoothing: float = 0.0) -> Tensor | None:
    """-E log D_kind over a batch of logits [B, 3]; None without a batch."""
    if logits is None:
        return None
    classes = torch.full((len(logits),), kind, device=logits.device)
    return F.cross_entropy(logits, classes, label_smoothing=smoothing)


def sum_of_present(*terms: Tensor | None) -> Tensor:
    """Sum of the terms that are not None."""
    return torch.stack([term for term in terms if term is not None]).sum()


def fake_logits(fakes: Fakes) -> frozenset[str]:
    """The fields of Outputs that hold D's logits of the generated images in use."""
    return frozenset({"source_fake_logits", "target_fake_logits"} if fakes == "both" else {"source_fake_logits"})


class TernaryDiscriminator(Loss):
    """L_D = -E_s log D_1(G(s)) - E_t log D_2(G(t)) - E_t log D_3(t)  (equation 3).

    Args:
        label_smoothing: Share of every label that is spread evenly over all three classes.
        fakes: Generated images that D is trained on. With "source" two classes remain, and D is the binary
            discriminator of the paper's baseline (section 3).
    """

    def __init__(self, *, label_smoothing: Smoothing = 0.0, fakes: Fakes = "both") -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.reads = frozenset({"target_logits", *fake_logits(fakes)})

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the kinds of images in this update."""
        terms = []
        for name, kind in KINDS.items():
            if name in self.reads:
                terms.append(negative_log_likelihood(getattr(outputs, name), kind, self.label_smoothing))
        return sum_of_present(*terms)


class TernaryGenerator(Loss):
    """L_GANG = -E_s log D_3(G(s)) - E_t log D_3(G(t))  (equation 4).

    Args:
        fakes: Generated images that D should take for real target images.
    """

    def __init__(self, *, fakes: Fakes = "both") -> None:
        super().__init__()
        self.reads = fake_logits(fakes)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the domains in this update."""
        logits = (getattr(outputs, name) for name in sorted(self.reads))
        return sum_of_present(*(negative_log_likelihood(batch, Discriminator.REAL_TARGET) for batch in logits))


class FeatureConsistency(Loss):
    """L_CONST = d(f(x), f(G(x))), for source images x in the paper (equation 5).

    Args:
        distance: The distance d between features.
        of: Domain of the images x. The paper uses the source only.
        aligned: Align the features of target images, of which G(x) is one, as ``align_features`` does for g. Otherwise a
            distance on features asks for an image with the mean and the covariance of the source's features, which no target
            image has.
    """

    def __init__(
        self, *, distance: DistanceOption = "mse", of: Literal["source", "target"] = "source", aligned: bool = False
    ) -> None:
        super().__init__()
        self.distance: Distance = distance
        self.of_target, self.aligned = of == "target", aligned
        self.pair = (f"{of}_features", f"{of}_fake_features")
        self.reads = frozenset({*self.pair, "classify", *(["align"] if aligned else [])})

    def forward(self, outputs: Outputs) -> Tensor:
        """The distance between the features of x and those of G(x). Raises DomtransError if they cannot be aligned."""
        features, fake_features = (getattr(outputs, name) for name in self.pair)
        if self.aligned:
            if outputs.align is None:
                raise DomtransError(
                    "the loss 'feature-consistency' has aligned=true, and the recipe has align_features=false; set both to the "
                    "same value"
                )
            fake_features = outputs.align(fake_features)
            features = outputs.align(features) if self.of_target else features
        return self.distance(features, fake_features, outputs.classify)


class TargetIdentity(Loss):
    """L_TID = d_2(t, G(t)): G should leave target images unchanged (equation 6).

    Args:
        distance: The distance d_2 between images.
    """

    reads = frozenset({"target", "target_fake"})

    def __init__(self, *, distance: DistanceOption = "mse") -> None:
        super().__init__()
        self.distance: Distance = distance

    def forward(self, outputs: Outputs) -> Tensor:
        """The distance between target images and their own transfer."""
        assert outputs.target is not None and outputs.target_fake is not None
        return self.distance(outputs.target, outputs.target_fake)


class TotalVariation(Loss):
    """L_TV: smoothness of the generated images (equation 7), summed over an image's pixels, averaged over the batch.

    Args:
        form: "paper" sums ((z[i,j+1] - z[i,j])^2 + (z[i+1,j] - z[i,j])^2)^(exponent / 2) over the pixels. "absolute"
            sums the absolute differences along both axes, as the study does.
        exponent: The paper's B; for form "paper".
        epsilon: Added to the squared differences and subtracted again after the power, so that a flat image costs
            nothing. Without it, the gradient of form "paper" is infinite at flat pixels for exponents below 2.
    """

    reads = frozenset({"source_fake", "target_fake"})

    def __init__(
        self,
        *,
        form: Literal["paper", "absolute"] = "paper",
        exponent: Annotated[float, Field(gt=0, le=4)] = 1.0,
        epsilon: PositiveFloat = 1e-6,
    ) -> None:
        super().__init__()
        self.form, self.exponent, self.epsilon = form, exponent, epsilon

    def forward(self, outputs: Outputs) -> Tensor:
        """The mean over all generated images."""
        images = torch.cat([fake for fake in (outputs.source_fake, outputs.target_fake) if fake is not None])
        if self.form == "absolute":
            across = (images[..., :, 1:] - images[..., :, :-1]).abs().sum((1, 2, 3))
            down = (images[..., 1:, :] - images[..., :-1, :]).abs().sum((1, 2, 3))
            return (across + down).mean()
        across = images[..., :-1, 1:] - images[..., :-1, :-1]
        down = images[..., 1:, :-1] - images[..., :-1, :-1]
        power = self.exponent / 2
        variation = (across.square() + down.square() + self.epsilon) ** power - self.epsilon**power
        return variation.sum((1, 2, 3)).mean()
