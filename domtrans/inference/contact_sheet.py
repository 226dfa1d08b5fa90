"""Contact sheets: grids of inputs, each above its output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from domtrans.data.batches import evenly
from domtrans.data.grid import pair_grid
from domtrans.data.image_files import encode_image
from domtrans.inference.framing import Pixels
from domtrans.inference.output_mark import mark_options

MAX_PAIRS = 256
"""Pairs on the sheet of a large folder."""
MAX_COLUMNS = 16


class ContactSheet:
    """Collects the pairs of at most ``MAX_PAIRS`` of ``count`` files, evenly spread, which bounds the memory."""

    def __init__(self, count: int) -> None:
        self._positions = set(evenly(count, MAX_PAIRS).tolist())
        self._pairs: list[tuple[Pixels, Pixels]] = []

    def wants(self, position: int) -> bool:
        """Whether the file at ``position`` is one of those on the sheet."""
        return position in self._positions and len(self._pairs) < MAX_PAIRS

    def add(self, position: int, before: Pixels, after: Pixels) -> None:
        """Keep a pair, uint8 [3, S, S] and [1 or 3, S, S], if the file at ``position`` is one of those on the sheet."""
        if self.wants(position):
            self._pairs.append((before, after))

    def encode(self, format_name: str) -> bytes | None:
        """The sheet as an image file of a Pillow format; None if it has no pairs."""
        return encode_pairs(self._pairs, format_name) if self._pairs else None


def encode_pairs(pairs: Sequence[tuple[Pixels, Pixels]], format_name: str) -> bytes:
    """A grid of (input, output) pairs as an image file of a Pillow format."""
    before, after = (torch.from_numpy(np.stack(images)) for images in zip(*pairs, strict=True))
    grid = pair_grid(before, after, min(MAX_COLUMNS, len(pairs)))
    return encode_image(grid, format_name, "the contact sheet", **mark_options(format_name))
