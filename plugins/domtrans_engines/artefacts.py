"""Augmentations with the faults of generated images, for networks that read such images but are fitted on clean ones."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

Share = Annotated[float, Field(ge=0, le=1)]


def smear(images: Tensor, rng: torch.Generator, *, amount: Share = 0.4, cells: PositiveInt = 8) -> Tensor:
    """Blend images with a coarse version of another image of the batch, each by a random weight.

    Args:
        amount: Largest weight of the coarse image.
        cells: Cells along one side of the coarse image.
    """
    order = torch.randperm(len(images), generator=rng, device=images.device)
    coarse = F.adaptive_avg_pool2d(images[order], min(cells, images.shape[-1]))
    spread = F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(images, spread, amount * _per_image(images, rng))


def speckle(images: Tensor, rng: torch.Generator, *, amount: Share = 0.15) -> Tensor:
    """Replace pixels by random colours; every image has its own share of such pixels.

    Args:
        amount: Largest share of the pixels.
    """
    places = torch.rand(len(images), 1, *images.shape[-2:], generator=rng, device=images.device)
    colours = 2 * torch.rand(images.shape, generator=rng, device=images.device) - 1
    return torch.where(places < amount * _per_image(images, rng), colours, images)


def _per_image(images: Tensor, rng: torch.Generator) -> Tensor:
    """A random number from 0 to 1 for every image: [B, 1, 1, 1]."""
    return torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device)
