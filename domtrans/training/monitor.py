"""Quantities that are logged beside the losses and that the health watch reads (docs/health.md).

To log another quantity, add it to the dictionary that ``discriminator`` or ``generator`` returns. Values stay on the
device, so that logging does not make a step wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from domtrans.data.image_set import ImageSet, to_float
from domtrans.evaluation.health import DIVERSITY, batch_deviation, normalised_d_loss
from domtrans.interfaces import Discriminator, Outputs

REAL_IMAGES = 1000
"""Target images, at most, over which the spread of real images is computed."""


@dataclass(frozen=True)
class Monitor:
    """What a step logs besides its losses.

    Args:
        real_spread: Spread of real target images, a scalar; None logs nothing.
        real_logits: The logits of D that mean "real".
    """

    real_spread: Tensor | None
    real_logits: Sequence[int]

    @classmethod
    def of(cls, target: ImageSet, discriminator: Discriminator, *, watch: bool) -> Monitor:
        """The monitor of a training whose target images are ``target``; ``watch=False`` logs nothing."""
        spread = batch_deviation(to_float(target.some(REAL_IMAGES).images)).clamp_min(1e-3) if watch else None
        return cls(spread, discriminator.real_logits)

    def discriminator(self, outputs: Outputs) -> dict[str, Tensor]:
        """After D judged: ``health.surprise``, the loss of D as a real-or-generated classifier over its chance level."""
        return {} if self.real_spread is None else normalised_d_loss(outputs, self.real_logits)

    def generator(self, outputs: Outputs) -> dict[str, Tensor]:
        """After g generated: ``health.diversity``, the spread of G(x_s) over the spread of real target images."""
        if self.real_spread is None or outputs.source_fake is None:
            return {}
        return {DIVERSITY: batch_deviation(outputs.source_fake) / self.real_spread}
