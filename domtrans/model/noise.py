"""z, the noise that a generator can read beside f(x), so that one image can have many transfers."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from domtrans.data.batches import derive_seed
from domtrans.errors import DomtransError

NoiseSize = Annotated[int, Field(ge=0, le=512)]
"""The values of z: the type of the option ``noise`` of a generator."""
FREQUENCY = 4.0
"""Phase of the waves per standard deviation of the features: images of one class then get clearly different values of z."""
LEAST = 1e-4
"""Smallest argument of the logarithm, which bounds z at 4.3."""


class FeatureNoise(nn.Module):
    """Appends z, ``size`` values from N(0, 1), to the features that g reads.

    In training, z is drawn from torch's global generator, which the trainer seeds for every step. In eval mode, z is a fixed
    function of the features, so that an image always gets the same transfer, in any batch, process and exported graph: random
    projections of the features are the phases of triangle waves, which are evenly distributed, and each pair of them becomes
    two normal values (Box and Muller, 1958). ``set_variant`` shifts the phases, so that every image gets another z.

    Args:
        features: F, the length of a feature vector, or C, the channels of maps.
        size: The number of values of z; of maps, the number of constant maps. 0: none, and the features stay as they are.
    """

    directions: Tensor
    shift: Tensor

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size, self.variant = size, 0
        if size:
            phases = 2 * math.ceil(size / 2)
            self.register_buffer("directions", torch.randn(features, phases) / features**0.5)
            self.register_buffer("shift", torch.zeros(phases))
            self.normalise = nn.BatchNorm1d(phases, affine=False, momentum=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to [B, F + size], or maps [B, C, h, w] to [B, C + size, h, w]."""
        if not self.size:
            return features
        fixed = self.of_features(features)  # also in training, where it measures the distribution of the features
        z = torch.randn_like(fixed) if self.training else fixed
        positions = features.shape[2:]
        return torch.cat([features, z.to(features.dtype).view(*z.shape, *[1] * len(positions)).expand(-1, -1, *positions)], 1)

    @torch.no_grad()
    def of_features(self, features: Tensor) -> Tensor:
        """The z [B, size], float32, of features [B, F] or maps [B, C, h, w] in eval mode."""
        with torch.autocast(features.device.type, enabled=False):
            vectors = features.float().flatten(2).mean(2) if features.ndim > 2 else features.float()
            phase = FREQUENCY * self.normalise(vectors @ self.directions) + self.shift
            radius, angle = triangle_wave(phase).chunk(2, 1)
            radius = (-2 * radius.clamp_min(LEAST).log()).sqrt()
            angle = 2 * math.pi * angle
            return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, : self.size]

    def set_variant(self, number: int) -> None:
        """Choose another fixed function of the features: 0 is the first one, and every number has its own."""
        random = torch.Generator().manual_seed(derive_seed(number, "variant"))
        shift = torch.rand(self.shift.shape, generator=random) * 2 if number else torch.zeros(self.shift.shape)
        self.shift.copy_(shift)
        self.variant = number


def triangle_wave(phase: Tensor) -> Tensor:
    """0 at even phases, 1 at odd ones, linear in between."""
    return 1 - (phase % 2 - 1).abs()


def noises_of(generator: nn.Module) -> list[FeatureNoise]:
    """The modules of a generator that append z."""
    return [module for module in generator.modules() if isinstance(module, FeatureNoise) and module.size]


def set_variant(generator: nn.Module, number: int) -> None:
    """Choose a variant of a generator with noise: another transfer of every image; 0 is the one of a trained run.

    Raises:
        DomtransError: If the generator has no noise, or the number is none from 0 upwards.
    """
    if not isinstance(number, Integral) or number < 0:
        raise DomtransError(f"a variant is a whole number, 0 or larger, not {number!r}")
    noises = noises_of(generator)
    if not noises:
        raise DomtransError(
            "this run gives one transfer of an image, because its generator reads no noise; train with generator.noise=8 to "
            "get variants"
        )
    for noise in noises:
        noise.set_variant(int(number))


def variant_of(generator: nn.Module) -> int:
    """The variant that ``set_variant`` chose last, or 0."""
    return next((noise.variant for noise in noises_of(generator)), 0)
