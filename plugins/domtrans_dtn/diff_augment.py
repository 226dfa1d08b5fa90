"""DiffAugment: what D sees of real and generated images is augmented alike, so that D cannot memorise a small target set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from domtrans_dtn.augmentations import uniform

Policy = Literal["colour", "translation", "cutout"]
Share = Annotated[float, Field(ge=0, le=1)]


def diff_augment(
    images: Tensor,
    rng: torch.Generator,
    *,
    policy: Annotated[list[Policy], Field(min_length=1)] = ["colour", "translation", "cutout"],  # noqa: B006 - copied
    shift: Share = 0.125,
    cut: Share = 0.5,
) -> Tensor:
    """Change colours, shift images and cut out squares, at random; for ``discriminator_view``.

    The policies and their ranges are those of Zhao et al.: Differentiable Augmentation for Data-Efficient GAN Training,
    NeurIPS 2020. "colour" changes brightness, saturation and contrast. "translation" shifts by whole pixels and fills with
    grey, 0. "cutout" sets a square to grey.

    Args:
        policy: The changes, applied in this order.
        shift: Largest shift, as a share of the image's side.
        cut: Side of the square, as a share of the image's side.
    """
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "colour": lambda x: change_colours(x, rng),
        "translation": lambda x: translate(x, rng, shift),
        "cutout": lambda x: cut_out(x, rng, cut),
    }
    for name in policy:
        images = changes[name](images)
    return images.contiguous(memory_format=torch.channels_last)


def change_colours(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness by up to 0.5, saturation by a factor of 0 to 2, contrast by a factor of 0.5 to 1.5."""
    images = images + uniform(images, rng, -0.5, 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * uniform(images, rng, 0, 2)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * uniform(images, rng, 0.5, 1.5)


def translate(images: Tensor, rng: torch.Generator, shift: float) -> Tensor:
    """Shift every image by whole pixels, at most ``shift`` of its side; the border is filled with 0."""
    size = images.shape[2:]
    places = [torch.arange(side, device=images.device) - whole(images, rng, -shift, shift, side) for side in size]
    inside = [(place >= 0) & (place < side) for place, side in zip(places, size, strict=True)]
    rows, columns = (place.clamp(0, side - 1) for place, side in zip(places, size, strict=True))
    number = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return moved * (inside[0][:, None, :, None] & inside[1][:, None, None, :])


def cut_out(images: Tensor, rng: torch.Generator, share: float) -> Tensor:
    """Set a square at a random place to 0; its side is ``share`` of the image's, and it may leave the image."""
    kept: Sequence[Tensor] = [
        (torch.arange(side, device=images.device) - whole(images, rng, 0, 1, side)).abs() * 2 > share * side
        for side in images.shape[2:]
    ]
    return images * (kept[0][:, None, :, None] | kept[1][:, None, None, :])


def whole(images: Tensor, rng: torch.Generator, low: float, high: float, side: int) -> Tensor:
    """A random whole number of pixels per image, between two shares of a side: int64 [B, 1]."""
    return (uniform(images, rng, low, high).view(-1, 1) * side).round().long()
