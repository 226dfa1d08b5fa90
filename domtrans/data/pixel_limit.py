"""The limit of pixels of an image that is read. Above it, a small file could fill the memory."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import Image

from domtrans.errors import DomtransError

MAX_PIXELS_VARIABLE = "DOMTRANS_MAX_PIXELS"
"""Environment variable with the limit of pixels of an image; 0 for no limit."""


def check_pixel_count(width: int, height: int) -> None:
    """Raise DecompressionBombError above Pillow's limit, where Pillow itself only warns."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{width * height} pixels")


class PixelLimit:
    """Sets Pillow's limit of pixels while images are read. The limit holds for all threads; the largest of several counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[int] = []
        self._before: int | None = None

    @contextmanager
    def __call__(self, max_pixels: int | None) -> Iterator[None]:
        """Read images of at most ``max_pixels`` pixels inside the block; 0: of any size; None: as the environment says."""
        limit = _limit_of_environment() if max_pixels is None else max_pixels
        if limit is None:
            yield
            return
        self._change(self._limits.append, limit or sys.maxsize)
        try:
            yield
        finally:
            self._change(self._limits.remove, limit or sys.maxsize)

    def _change(self, change: Callable[[int], None], limit: int) -> None:
        with self._lock:
            if not self._limits:
                self._before = Image.MAX_IMAGE_PIXELS
            change(limit)
            Image.MAX_IMAGE_PIXELS = max(self._limits, default=self._before)


pixel_limit = PixelLimit()


def _limit_of_environment() -> int | None:
    value = os.environ.get(MAX_PIXELS_VARIABLE, "").replace("_", "").strip()
    if value and not value.isdecimal():
        raise DomtransError(
            f"the variable {MAX_PIXELS_VARIABLE} is '{value}', but must be a number of pixels, or 0 for no limit"
        )
    return int(value) if value else None
