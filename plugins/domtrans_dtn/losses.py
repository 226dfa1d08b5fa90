"""The terms of L_D and L_G (equations 3 to 7 of the paper)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from domtrans import Discriminator, Distance, DistanceOption, Loss, Outputs

Smoothing = Annotated[float, Field(ge=0, lt=1)]
Fakes = Literal["both", "source"]
"""Whose transferred images count: those of both domains, or, as in the baseline of the paper's section 3, the source's."""


def towards(logits: Tensor | None, kind: int, smoothing: float = 0.0) -> Tensor | None:
    """-E log D_kind of a batch of logits [B, 3], or None where there is no batch."""
    if logits is None:
        return None
    classes = torch.full((len(logits),), kind, device=logits.device)
    return F.cross_entropy(logits, classes, label_smoothing=smoothing)


def total(*terms: Tensor | None) -> Tensor:
    """Sum of the terms that are there."""
    return torch.stack([value for value in terms if value is not None]).sum()


def logits_of(fakes: Fakes) -> frozenset[str]:
    """D's logits of the transferred images that count."""
    return frozenset({"source_fake_logits", "target_fake_logits"} if fakes == "both" else {"source_fake_logits"})


class TernaryDiscriminator(Loss):
    """L_D = -E_s log D_1(G(s)) - E_t log D_2(G(t)) - E_t log D_3(t)  (equation 3).

    ``label_smoothing``: share of every label that is spread over all three kinds. ``fakes``: whose transferred images D
    sees; with those of the source alone two kinds are left, and D is the binary judge of the baseline (section 3).
    """

    def __init__(self, *, label_smoothing: Smoothing = 0.0, fakes: Fakes = "both") -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.reads = frozenset({"target_logits", *logits_of(fakes)})

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the kinds of image that this turn has."""
        kinds = {
            "source_fake_logits": Discriminator.FAKE_SOURCE,
            "target_fake_logits": Discriminator.FAKE_TARGET,
            "target_logits": Discriminator.REAL_TARGET,
        }
        read = {name: kind for name, kind in kinds.items() if name in self.reads}
        return total(*(towards(getattr(outputs, name), kind, self.label_smoothing) for name, kind in read.items()))


class TernaryGenerator(Loss):
    """L_GANG = -E_s log D_3(G(s)) - E_t log D_3(G(t))  (equation 4).

    ``fakes``: whose transferred images are to please D.
    """

    def __init__(self, *, fakes: Fakes = "both") -> None:
        super().__init__()
        self.reads = logits_of(fakes)

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the domains that this turn has."""
        return total(*(towards(getattr(outputs, name), Discriminator.REAL_TARGET) for name in sorted(self.reads)))


class FeatureConsistency(Loss):
    """L_CONST = d(f(x), f(G(x))), over source images in the paper (equation 5).

    ``distance``: d. ``of``: whose images x are: the source's, or the target's, where the paper has no such term.
    """

    def __init__(self, *, distance: DistanceOption = "mse", of: Literal["source", "target"] = "source") -> None:
        super().__init__()
        self.distance: Distance = distance
        self.names = (f"{of}_features", f"{of}_fake_features")
        self.reads = frozenset({*self.names, "classify"})

    def forward(self, outputs: Outputs) -> Tensor:
        """The distance between the features of x and those of G(x)."""
        wanted, found = (getattr(outputs, name) for name in self.names)
        return self.distance(wanted, found, outputs.classify)


class TargetIdentity(Loss):
    """L_TID = d_2(t, G(t)): G leaves target images as they are (equation 6).

    ``distance``: d_2.
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
    """L_TV: smoothness of the generated images (equation 7), per image, averaged over the batch.

    ``form``: "paper" is the sum over pixels of ((z[i,j+1] - z[i,j])^2 + (z[i+1,j] - z[i,j])^2)^(exponent / 2), "absolute"
    the sum of both absolute differences (the study's replacement). ``exponent``: the paper's B. ``epsilon``: in squared
    units of the image range; below exponent 2 the gradient of the paper's form is infinite at flat spots, and this keeps it
    finite; it is taken off again, so that a flat image costs nothing.
    """

    reads = frozenset({"source_fake", "target_fake"})

    def __init__(
        self,
        *,
        form: Literal["paper", "absolute"] = "paper",
        exponent: Annotated[float, Field(gt=0, le=4)] = 1.0,
        epsilon: Annotated[float, Field(gt=0)] = 1e-6,
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
        smooth = (across.square() + down.square() + self.epsilon) ** power - self.epsilon**power
        return smooth.sum((1, 2, 3)).mean()
