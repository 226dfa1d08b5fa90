"""Random augmentations: differentiable, drawn independently for every image, with all randomness from the given generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from domtrans import AugmentationOption

Probability = Annotated[float, Field(ge=0, le=1)]
Steps = list[AugmentationOption]


def chain(images: Tensor, rng: torch.Generator, *, steps: Steps) -> Tensor:
    """Apply several augmentations in order.

    Args:
        steps: The augmentations, first to last.
    """
    for step in steps:
        images = step(images, rng)
    return images.contiguous(memory_format=torch.channels_last)


def warp(
    images: Tensor,
    rng: torch.Generator,
    *,
    rotate: NonNegativeFloat = 0.3,
    scale: NonNegativeFloat = 0.2,
    shear: NonNegativeFloat = 0.3,
    shift: NonNegativeFloat = 0.12,
    elastic: NonNegativeFloat = 0.0,
) -> Tensor:
    """Apply a random affine map and a smooth random displacement field.

    Pixels outside the image repeat its border.

    Args:
        rotate: Largest rotation, in radians.
        scale: Largest log of the scale factor; each axis has its own factor.
        shear: Largest slope of the shear.
        shift: Largest shift, in half image sides.
        elastic: Standard deviation of the displacement field, in half image sides.
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


def flip(images: Tensor, rng: torch.Generator, *, chance: Probability = 0.5) -> Tensor:
    """Flip images left to right.

    Args:
        chance: Probability that an image is flipped.
    """
    return torch.where(random_mask(images, rng, chance) > 0, images.flip(-1), images)


def stroke(images: Tensor, rng: torch.Generator, *, chance: Probability = 0.5) -> Tensor:
    """Make strokes thicker or thinner: grow the bright parts, or the dark parts, by up to one pixel.

    Args:
        chance: Probability that an image is changed.
    """
    amount = uniform(images, rng, -1, 1) * random_mask(images, rng, chance)
    sign = amount.sign()
    return images + amount.abs() * (_largest_nearby(images * sign) * sign - images)


def paint(images: Tensor, rng: torch.Generator, *, contrast: Annotated[float, Field(gt=0, le=1)] = 0.5) -> Tensor:
    """Recolour grey strokes: a random ink on a random background, with either one brighter.

    Takes [B, C, H, W] with 1 or 3 channels, and keeps their number.

    Args:
        contrast: Smallest distance of ink and background from their mean, before each gets a small tint.
    """
    ink = (images.mean(1, keepdim=True) + 1) / 2
    middle = uniform(images, rng, contrast - 1, 1 - contrast)
    half_range = contrast + uniform(images, rng, 0, 1) * (1 - middle.abs() - contrast)
    half_range = half_range * (2 * random_mask(images, rng, 0.5) - 1)
    channels = images.shape[1]
    tints = [uniform(images, rng, -0.25, 0.25, channels) if channels > 1 else 0.0 for _ in range(2)]
    low, high = (middle - half_range + tints[0]).clamp(-1, 1), (middle + half_range + tints[1]).clamp(-1, 1)
    return low + (high - low) * ink


def recolour(images: Tensor, rng: torch.Generator, *, grey: Probability = 0.5, gain: NonNegativeFloat = 0.5) -> Tensor:
    """Change polarity, contrast, brightness and tint of photographs.

    Args:
        grey: Probability that an image loses its colour.
        gain: Largest log of the contrast factor.
    """
    centre = images.mean((1, 2, 3), keepdim=True)
    luma = images.mean(1, keepdim=True)
    images = images + random_mask(images, rng, grey) * (luma - images)
    factor = uniform(images, rng, -gain, gain).exp() * (2 * random_mask(images, rng, 0.5) - 1)
    brightness = uniform(images, rng, -0.5, 0.5) + uniform(images, rng, -0.15, 0.15, images.shape[1])
    return ((images - centre) * factor + brightness).clamp(-1, 1)


def blur(images: Tensor, rng: torch.Generator, *, chance: Probability = 0.5) -> Tensor:
    """Blend images with their 3 x 3 mean, each by a random weight.

    Args:
        chance: Probability that an image is changed.
    """
    soft = _over_neighbours(torch.add, images) / 9
    return images + uniform(images, rng, 0, 1) * random_mask(images, rng, chance) * (soft - images)


def noise(images: Tensor, rng: torch.Generator, *, amount: NonNegativeFloat = 0.1) -> Tensor:
    """Add Gaussian noise, with a random standard deviation for every image.

    Args:
        amount: Largest standard deviation; images range from -1 to 1.
    """
    gaussian = torch.randn(images.shape, generator=rng, device=images.device)
    return images + gaussian * uniform(images, rng, 0, amount)


def lines(
    images: Tensor,
    rng: torch.Generator,
    *,
    chance: Probability = 0.5,
    length: Annotated[float, Field(gt=0, le=2)] = 0.4,
    width: Annotated[float, Field(gt=0, le=1)] = 0.08,
) -> Tensor:
    """Draw a straight line at a random place, so that f learns to ignore strokes like the bar of a crossed 7.

    Each channel of the line has the highest or the lowest value of its channel in the image, so it looks like ink.

    Args:
        chance: Probability that an image gets a line.
        length: Largest length, as a share of the image's side. The shortest is a quarter of it.
        width: Largest width, as a share of the image's side. The smallest is a third of it.
    """
    height, columns = images.shape[-2:]
    angle = uniform(images, rng, 0, torch.pi)
    middle_x, middle_y = uniform(images, rng, 0.2, 0.8), uniform(images, rng, 0.2, 0.8)
    half_length, half_width = uniform(images, rng, length / 8, length / 2), uniform(images, rng, width / 6, width / 2)
    x = (torch.arange(columns, device=images.device) + 0.5) / columns - middle_x
    y = (torch.arange(height, device=images.device) + 0.5)[:, None] / height - middle_y
    along, beside = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    distance = torch.hypot((along.abs() - half_length).clamp_min(0), beside)
    # A pixel at the edge is covered in part.
    covered = ((half_width - distance) * columns + 0.5).clamp(0, 1) * random_mask(images, rng, chance)
    is_bright = random_mask(images, rng, 0.5)
    ink = torch.lerp(images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True), is_bright)
    return torch.lerp(images, ink.expand_as(images), covered.expand_as(images))


def uniform(images: Tensor, rng: torch.Generator, low: float, high: float, channels: int = 1) -> Tensor:
    """One random number per image (and channel), [B, channels, 1, 1]."""
    samples = torch.rand(len(images), channels, 1, 1, generator=rng, device=images.device)
    return low + (high - low) * samples


def random_mask(images: Tensor, rng: torch.Generator, probability: float | Tensor) -> Tensor:
    """1 with the given probability, else 0; [B, 1, 1, 1]."""
    return (torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device) < probability).to(torch.float32)


def _largest_nearby(images: Tensor) -> Tensor:
    """The largest of each pixel and its 8 neighbours."""
    if images.requires_grad:  # the gradient of torch.maximum takes longer than all of max_pool2d
        return F.max_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return _over_neighbours(torch.maximum, images)


def _over_neighbours(combine: Callable[[Tensor, Tensor], Tensor], images: Tensor) -> Tensor:
    """Combine each pixel with its 8 neighbours, which repeat at the border; on a CPU much faster than pooling of torch."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across = combine(combine(padded[..., :-2], padded[..., 1:-1]), padded[..., 2:])
    return combine(combine(across[..., :-2, :], across[..., 1:-1, :]), across[..., 2:, :])
