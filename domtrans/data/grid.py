"""Grids of images: each row of source images above the row of their transferred images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from domtrans.data.aspect import resize
from domtrans.data.image_set import to_channels

GAP_PIXELS = 2
"""Between two images."""


def pair_grid(
    sources: Tensor,
    transferred: Tensor,
    columns: int = 16,
    scale: int = 2,
    *,
    source_shown: Sequence[int] = (),
    target_shown: Sequence[int] = (),
) -> Image.Image:
    """A grid of image pairs in RGB.

    Args:
        sources: uint8 [N, C, H, W].
        transferred: uint8 [N, C, H, W], below the sources.
        columns: Images per row.
        scale: Enlarges every pixel by this factor.
        source_shown: The channels of the sources that are shown, as ``ImageSet.shown``.
        target_shown: Those of the transferred images.
    """
    sources, transferred = to_rgb(show_channels(sources, source_shown)), to_rgb(show_channels(transferred, target_shown))
    side = max(sources.shape[-1], transferred.shape[-1])
    sources, transferred = resize(sources, side), resize(transferred, side)
    rows = []
    for start in range(0, len(sources), columns):
        rows += [sources[start : start + columns], transferred[start : start + columns]]
    image = Image.fromarray(tile(rows, columns).permute(1, 2, 0).contiguous().numpy())
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST) if scale > 1 else image


def tile(rows: list[Tensor], columns: int) -> Tensor:
    """Rows of images, uint8 [n <= columns, 3, S, S], as one image [3, H, W] with a wider gap after every second row."""
    side = rows[0].shape[-1]
    step = side + GAP_PIXELS
    height = len(rows) * step + (len(rows) // 2 - 1) * 2 * GAP_PIXELS + GAP_PIXELS
    canvas = torch.full((3, height, columns * step + GAP_PIXELS), 255, dtype=torch.uint8)
    for r, row in enumerate(rows):
        top = GAP_PIXELS + r * step + (r // 2) * 2 * GAP_PIXELS
        for c, image in enumerate(row):
            left = GAP_PIXELS + c * step
            canvas[:, top : top + side, left : left + side] = image
    return canvas


def show_channels(images: Tensor, shown: Sequence[int] = ()) -> Tensor:
    """The channels of images [N, C, H, W] that pictures show, as ``ImageSet.shown``: [N, 1 or 3, H, W]."""
    channels = images.shape[1]
    if not shown and channels in (1, 3):
        return images
    return images[:, list(shown or range(3 if channels > 3 else 1))]


def to_rgb(images: Tensor) -> Tensor:
    """uint8 [N, 1 or 3, H, W] to RGB on the CPU."""
    return to_channels(images.cpu(), 3)


def png(image: Image.Image) -> bytes:
    """A grid as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
