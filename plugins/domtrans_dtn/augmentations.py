"""Random views of images: differentiable, a draw of its own for every image, all of it from the generator handed in."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from domtrans import AugmentationOption

Amount = Annotated[float, Field(ge=0)]
Chance = Annotated[float, Field(ge=0, le=1)]
Steps = list[AugmentationOption]


def chain(images: Tensor, rng: torch.Generator, *, steps: Steps) -> Tensor:
    """One augmentation after the other.

    ``steps``: the augmentations, in order.
    """
    for step in steps:
        images = step(images, rng)
    return images.contiguous(memory_format=torch.channels_last)


def warp(
    images: Tensor,
    rng: torch.Generator,
    *,
    rotate: Amount = 0.3,
    scale: Amount = 0.2,
    shear: Amount = 0.3,
    shift: Amount = 0.12,
    elastic: Amount = 0.0,
) -> Tensor:
    """A random affine map and a smooth random displacement.

    Outside, the border is continued. ``rotate``: largest angle in radians. ``scale``: largest log of the factor, each axis
    its own. ``shear``: largest slope. ``shift``: largest shift in half image sides. ``elastic``: standard deviation of the
    displacement in half image sides.
    """
    n, _, height, width = images.shape
    angle, slope = uniform(images, rng, -rotate, rotate), uniform(images, rng, -shear, shear)
    across, down = uniform(images, rng, -scale, scale).exp(), uniform(images, rng, -scale, scale).exp()
    right, below = uniform(images, rng, -shift, shift), uniform(images, rng, -shift, shift)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * across, (slope * cos - sin) * down, right, sin * across, (slope * sin + cos) * down, below]
    grid = F.affine_grid(torch.cat(rows, 1).view(n, 2, 3), [n, 1, height, width], align_corners=False)
    if elastic:
        coarse = torch.randn(n, 2, 5, 5, generator=rng, device=images.device) * elastic
        grid = grid + F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def flip(images: Tensor, rng: torch.Generator, *, chance: Chance = 0.5) -> Tensor:
    """Left and right exchanged.

    ``chance``: share of the images that are changed.
    """
    return torch.where(chosen(images, rng, chance) > 0, images.flip(-1), images)


def stroke(images: Tensor, rng: torch.Generator, *, chance: Chance = 0.5) -> Tensor:
    """Bright parts, or dark parts, grown by up to a pixel: thicker or thinner strokes.

    ``chance``: share of the images that are changed.
    """
    amount = uniform(images, rng, -1, 1) * chosen(images, rng, chance)
    sign = amount.sign()
    grown = F.max_pool2d(F.pad(images * sign, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return images + amount.abs() * (grown * sign - images)


def paint(images: Tensor, rng: torch.Generator, *, contrast: Annotated[float, Field(gt=0, le=1)] = 0.5) -> Tensor:
    """Grey strokes in a random colour on a random colour, either polarity; [B, C, H, W] with C 1 or 3, kept.

    ``contrast``: the least distance of either colour from the middle between them, before a small tint of both.
    """
    ink = (images.mean(1, keepdim=True) + 1) / 2
    middle = uniform(images, rng, contrast - 1, 1 - contrast)
    reach = contrast + uniform(images, rng, 0, 1) * (1 - middle.abs() - contrast)
    reach = reach * (2 * chosen(images, rng, 0.5) - 1)
    channels = images.shape[1]
    tints = [uniform(images, rng, -0.25, 0.25, channels) if channels > 1 else 0.0 for _ in range(2)]
    below, above = (middle - reach + tints[0]).clamp(-1, 1), (middle + reach + tints[1]).clamp(-1, 1)
    return below + (above - below) * ink


def recolour(images: Tensor, rng: torch.Generator, *, grey: Chance = 0.5, gain: Amount = 0.5) -> Tensor:
    """Random polarity, contrast, brightness and tint of a photograph.

    ``grey``: share of the images that lose their colour. ``gain``: largest log of the change in contrast.
    """
    centre = images.mean((1, 2, 3), keepdim=True)
    luma = images.mean(1, keepdim=True)
    images = images + chosen(images, rng, grey) * (luma - images)
    factor = uniform(images, rng, -gain, gain).exp() * (2 * chosen(images, rng, 0.5) - 1)
    brightness = uniform(images, rng, -0.5, 0.5) + uniform(images, rng, -0.15, 0.15, images.shape[1])
    return ((images - centre) * factor + brightness).clamp(-1, 1)


def blur(images: Tensor, rng: torch.Generator, *, chance: Chance = 0.5) -> Tensor:
    """Blended with the 3 x 3 mean.

    ``chance``: share of the images that are changed.
    """
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return images + uniform(images, rng, 0, 1) * chosen(images, rng, chance) * (soft - images)


def noise(images: Tensor, rng: torch.Generator, *, amount: Amount = 0.1) -> Tensor:
    """Gaussian noise of a random standard deviation, drawn for every image.

    ``amount``: the largest standard deviation.
    """
    drawn = torch.randn(images.shape, generator=rng, device=images.device)
    return images + drawn * uniform(images, rng, 0, amount)


def uniform(images: Tensor, rng: torch.Generator, low: float, high: float, channels: int = 1) -> Tensor:
    """One number an image (and channel), [B, channels, 1, 1]."""
    drawn = torch.rand(len(images), channels, 1, 1, generator=rng, device=images.device)
    return low + (high - low) * drawn


def chosen(images: Tensor, rng: torch.Generator, chance: float) -> Tensor:
    """1 for a random share of the images, else 0, [B, 1, 1, 1]."""
    return (torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device) < chance).to(torch.float32)
