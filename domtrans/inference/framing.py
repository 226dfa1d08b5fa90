"""From an image of any form to what the network sees of it, and from what the network makes to an image of the form wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from domtrans.data.image_files import flat_square, level, transparency, upright

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Taken:
    """One image on its way to the network: its centre square, and what of it the output shows.

    ``pixels``: uint8 [3, S, S]. ``alpha``, ``original``: of the output's size, where they are wanted and there are any.
    """

    pixels: Pixels
    alpha: Image.Image | None = None
    original: Image.Image | None = None


@dataclass(frozen=True)
class Layout:
    """``seen``: side of what the network sees, in pixels. ``side``: of the output. ``side_by_side``: the input on its left."""

    seen: int
    side: int
    side_by_side: bool = False

    def take(self, image: Image.Image) -> Taken:
        """The centre square of an image of any mode and size. Raises DomtransError for one without pixels."""
        image = upright(image)
        flat, alpha = level(image), transparency(image)
        return Taken(
            flat_square(flat, self.seen),
            None if alpha is None else self._fit(alpha),
            self._fit(flat) if self.side_by_side else None,
        )

    def lay(self, made: Pixels, taken: Taken) -> Image.Image:
        """What the network made, uint8 [1 or 3, S, S], as an image of the form wanted, with the input's alpha."""
        image = Image.fromarray(made[0] if len(made) == 1 else np.ascontiguousarray(made.transpose(1, 2, 0)))
        parts = [self._fit(image)]
        if taken.original is not None:
            mode = "L" if taken.original.mode == image.mode == "L" else "RGB"
            parts = [part.convert(mode) for part in (taken.original, *parts)]
        if taken.alpha is not None:
            for part in parts:
                part.putalpha(taken.alpha)
        if len(parts) == 1:
            return parts[0]
        both = Image.new(parts[0].mode, (2 * self.side, self.side))
        for number, part in enumerate(parts):
            both.paste(part, (number * self.side, 0))
        return both

    def _fit(self, image: Image.Image) -> Image.Image:
        """The centre square, of the output's side; a copy also where nothing changes."""
        if image.size == (self.side, self.side):
            return image.copy()
        return ImageOps.fit(image, (self.side, self.side), Image.Resampling.BICUBIC)
