"""Grids of images, to look at: the source row above the transferred row."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from domtrans.data.image_set import resize, to_channels

GAP = 2
"""Pixels between two images."""


def pair_grid(sources: Tensor, transferred: Tensor, columns: int = 16, scale: int = 2) -> bytes:
    """A PNG: rows of source images, each with the row of what they became beneath it.

    Both uint8 [N, C, H, W]; ``scale`` enlarges by whole pixels.
    """
    sources, transferred = to_rgb(sources), to_rgb(transferred)
    side = max(sources.shape[-1], transferred.shape[-1])
    sources, transferred = resize(sources, side), resize(transferred, side)
    rows = []
    for start in range(0, len(sources), columns):
        rows += [sources[start : start + columns], transferred[start : start + columns]]
    return png(tile(rows, columns), scale)


def tile(rows: list[Tensor], columns: int) -> Tensor:
    """Rows of uint8 images [n <= columns, 3, S, S] to one picture [3, H, W]; a wider gap after every second row."""
    side = rows[0].shape[-1]
    step = side + GAP
    height = len(rows) * step + (len(rows) // 2 - 1) * 2 * GAP + GAP
    canvas = torch.full((3, height, columns * step + GAP), 255, dtype=torch.uint8)
    for r, row in enumerate(rows):
        top = GAP + r * step + (r // 2) * 2 * GAP
        for c, image in enumerate(row):
            left = GAP + c * step
            canvas[:, top : top + side, left : left + side] = image
    return canvas


def to_rgb(images: Tensor) -> Tensor:
    """uint8 [N, 1 or 3, H, W] to RGB on the CPU."""
    return to_channels(images.cpu(), 3)


def png(picture: Tensor, scale: int = 1) -> bytes:
    """uint8 [3, H, W] as the bytes of a PNG file."""
    image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
