"""Contact sheets: inputs, each above what it became."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch

from domtrans.data.batches import evenly
from domtrans.data.grid import pair_grid
from domtrans.data.image_files import decode_picture, encode_picture
from domtrans.inference.framing import Pixels

MOST = 256
"""Pairs on the sheet of a large folder."""
COLUMNS = 16


class Sheet:
    """The pairs of at most MOST of ``count`` files, evenly spread, so that memory stays where it is."""

    def __init__(self, count: int) -> None:
        self._wanted = set(evenly(count, MOST).tolist())
        self._pairs: list[tuple[Pixels, Pixels]] = []

    def add(self, position: int, before: Pixels, after: Pixels) -> None:
        """Take in an image of the file at ``position``, if that is one of the chosen: uint8 [3, S, S] and [1 or 3, S, S]."""
        if position in self._wanted and len(self._pairs) < MOST:
            self._pairs.append((before, after))

    def encoded(self, kind: str) -> bytes | None:
        """The sheet as a file of Pillow's format ``kind``; None if nothing was taken in."""
        return sheet(self._pairs, kind) if self._pairs else None


def sheet(pairs: Sequence[tuple[Pixels, Pixels]], kind: str) -> bytes:
    """Pairs of images, side by side in rows, as a file of Pillow's format ``kind``."""
    before, after = (torch.from_numpy(np.stack(images)) for images in zip(*pairs, strict=True))
    png = pair_grid(before, after, min(COLUMNS, len(pairs)))
    return png if kind == "PNG" else encode_picture(decode_picture(io.BytesIO(png), "the sheet"), kind, "the sheet")
