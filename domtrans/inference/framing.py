"""Framing: crop an input image for the network, and compose the output image from what the network returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans.data.aspect import Aspect, square_image
from domtrans.data.pixels import flat_square_array, over_white, standardize

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FramedImage:
    """An input image as a square.

    Attributes:
        pixels: uint8 [3, S, S], the network's input.
        side: Side of the square that the output is drawn in, in pixels.
        size: Width and height of the output, at the centre of that square.
        alpha: The alpha channel at the output's size, if the input has one.
        original: The input at the output's size, if the output shows it.
    """

    pixels: Pixels
    side: int
    size: tuple[int, int]
    alpha: Image.Image | None = None
    original: Image.Image | None = None


@dataclass(frozen=True)
class Framing:
    """How images are cropped and composed.

    Attributes:
        network_size: Side of the network's input, in pixels.
        output_size: Side of the output, in pixels; None: the size of the part of the input that the network sees, which is
            the centre square for the aspect "crop", and otherwise the whole input.
        side_by_side: Whether the output shows the input on its left.
        aspect: How an image that is not square becomes square.
    """

    network_size: int
    output_size: int | None
    side_by_side: bool = False
    aspect: Aspect = "crop"

    def frame(self, image: Image.Image) -> FramedImage:
        """Make an image of any mode and size square. Raises DomtransError if it has no pixels."""
        image = standardize(image)
        flat = over_white(image)
        side, size = self._output(image.size)
        return FramedImage(
            flat_square_array(flat, self.network_size, aspect=self.aspect),
            side,
            size,
            self._fit(image.getchannel("A"), size) if image.mode in ("LA", "RGBA") else None,
            self._fit(flat, size) if self.side_by_side else None,
        )

    def compose(self, pixels: Pixels, framed: FramedImage) -> Image.Image:
        """The output image from the network's output, uint8 [1 or 3, S, S], with the input's alpha."""
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        whole = framed.size if self.aspect == "squeeze" else (framed.side, framed.side)
        left, top = ((outer - inner) // 2 for outer, inner in zip(whole, framed.size, strict=True))
        middle = (left, top, left + framed.size[0], top + framed.size[1])
        resized = image if image.size == whole else image.resize(whole, Image.Resampling.BICUBIC)
        panels = [resized if whole == framed.size else resized.crop(middle)]
        if framed.original is not None:
            mode = "L" if framed.original.mode == image.mode == "L" else "RGB"
            panels = [panel.convert(mode) for panel in (framed.original, *panels)]
        if framed.alpha is not None:
            for panel in panels:
                panel.putalpha(framed.alpha)
        if len(panels) == 1:
            return panels[0]
        width, height = framed.size
        canvas = Image.new(panels[0].mode, (2 * width, height))
        for number, panel in enumerate(panels):
            canvas.paste(panel, (number * width, 0))
        return canvas

    def _output(self, size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """The side of the square that the output of an input of this size is drawn in, and the size of the output."""
        if self.output_size is not None:
            return self.output_size, (self.output_size, self.output_size)
        if self.aspect == "crop":
            return min(size), (min(size), min(size))
        return max(size), size

    def _fit(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """A copy of the input, or of its alpha channel, at the output's size."""
        if image.size == size:
            return image.copy()
        return square_image(image, size[0], self.aspect, Image.Resampling.BICUBIC)
