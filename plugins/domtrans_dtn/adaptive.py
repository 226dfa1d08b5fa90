"""Regularisers of D for small target sets that adapt to what D says: LeCam, and augmentation of adaptive strength (ADA)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from domtrans import AdaptiveAugmentation, Loss, Outputs
from domtrans_dtn.augmentations import Probability, Steps, random_mask
from domtrans_dtn.losses import KINDS, sum_of_present
from domtrans_dtn.objectives import FAKE_FIELDS, FAKE_KINDS, REAL, judged, log_odds_of_real

POLICIES = [{"name": "diff-augment", "policy": [policy]} for policy in ("colour", "translation", "cutout")]
"""The augmentations of DiffAugment, each of its own."""


class LeCam(Loss):
    """D's answers for real images stay near its recent mean answer for generated ones, and the other way round.

    Tseng et al.: Regularizing Generative Adversarial Networks under Limited Data, CVPR 2021: R = E (D(t) - a_F)^2 +
    E (D(G(x)) - a_R)^2, where a_F and a_R are moving averages of D's answers for generated and for real images. For the
    ternary D, the answer is c, the log odds of a real image, and R is summed over the pairs (t, G(s)) and (t, G(t)), each
    with an a_F of its own. It trains D only, so it belongs to ``discriminator_losses``. The paper's weights are 0.0001 to 0.3.

    Args:
        decay: Decay of the moving averages for each update of D. The first updates average equally.
    """

    reads = frozenset(KINDS)
    means: Tensor
    updates: Tensor

    def __init__(self, *, decay: Annotated[float, Field(ge=0, lt=1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("means", torch.zeros(len(KINDS)))
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, outputs: Outputs) -> Tensor:
        """The sum over the domains in this update."""
        terms = []
        for logits, kind in judged(outputs, FAKE_FIELDS):
            terms.append((log_odds_of_real(logits) - self.means[REAL]).square().mean())
            if outputs.target_logits is not None:
                terms.append((log_odds_of_real(outputs.target_logits) - self.means[kind]).square().mean())
        return sum_of_present(*terms)

    def observe(self, outputs: Outputs) -> None:
        """Move the averages towards the means of this batch."""
        decay = (self.updates / (self.updates + 1)).clamp(max=self.decay)
        for logits, kind in judged(outputs, KINDS):
            self.means[kind] = decay * self.means[kind] + (1 - decay) * log_odds_of_real(logits).mean()
        self.updates += 1


class Adaptive(AdaptiveAugmentation):
    """Augment what D sees only as often as D over-fits; a ``discriminator_view``.

    Karras et al.: Training Generative Adversarial Networks with Limited Data, NeurIPS 2020 (ADA). Each augmentation changes
    each image with a probability, the strength. It rises while the mean sign of D's answers for real images is above ``aim``
    (the paper's r_t, equation 1), and falls while it is below. For the ternary D, the answer is log D_3 - log((D_1 + D_2) / 2),
    which is 0 for a D at chance. The strength is logged as ``discriminator_view.strength``.

    Args:
        steps: The augmentations, first to last. By default those of "diff-augment".
        aim: The mean sign, between -1 and 1, at which the strength stays.
        interval: Updates of D between two changes of the strength.
        ramp: Updates of D over which the strength can rise from 0 to 1. The paper's 500,000 images are 8,000 batches of 64.
        initial: The strength at the beginning.
    """

    strength: Tensor
    signs: Tensor
    updates: Tensor

    def __init__(
        self,
        *,
        steps: Annotated[Steps, Field(min_length=1)] = POLICIES,
        aim: Annotated[float, Field(ge=-1, le=1)] = 0.6,
        interval: PositiveInt = 4,
        ramp: PositiveInt = 8000,
        initial: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.steps, self.aim, self.interval, self.ramp = steps, aim, interval, ramp
        self.register_buffer("strength", torch.tensor(float(initial)))
        self.register_buffer("signs", torch.zeros(()))
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images [B, C, H, W], each changed by each augmentation with the present probability."""
        for step in self.steps:
            images = torch.where(random_mask(images, rng, self.strength) > 0, step(images, rng), images)
        return images.contiguous(memory_format=torch.channels_last)

    def observe(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """Add the signs of a batch, and change the strength if it is time. Without real images, nothing changes."""
        if outputs.target_logits is not None:
            chance = math.log(len(FAKE_KINDS))  # c of a D that finds all kinds equally likely is -log 2
            self.signs += (log_odds_of_real(outputs.target_logits) + chance).sign().mean()
            self.updates += 1
            due = self.updates >= self.interval
            change = (self.signs / self.updates - self.aim).sign() * (self.interval / self.ramp)
            self.strength.copy_((self.strength + change * due).clamp(0, 1))
            self.signs *= ~due
            self.updates *= ~due
        return {"strength": self.strength}
