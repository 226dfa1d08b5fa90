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
        alpha: The alpha channel at the output's size, if the input has one.
        original: The square at the output's size, if the output shows it.
    """

    pixels: Pixels
    alpha: Image.Image | None = None
    original: Image.Image | None = None


@dataclass(frozen=True)
class Framing:
    """How images are cropped and composed.

    Attributes:
        network_size: Side of the network's input, in pixels.
        output_size: Side of the output, in pixels.
        side_by_side: Whether the output shows the input on its left.
        aspect: How an image that is not square becomes square.
    """

    network_size: int
    output_size: int
    side_by_side: bool = False
    aspect: Aspect = "crop"

    def frame(self, image: Image.Image) -> FramedImage:
        """Make an image of any mode and size square. Raises DomtransError if it has no pixels."""
        image = standardize(image)
        flat = over_white(image)
        return FramedImage(
            flat_square_array(flat, self.network_size, aspect=self.aspect),
            self._fit(image.getchannel("A")) if image.mode in ("LA", "RGBA") else None,
            self._fit(flat) if self.side_by_side else None,
        )

    def compose(self, pixels: Pixels, framed: FramedImage) -> Image.Image:
        """The output image from the network's output, uint8 [1 or 3, S, S], with the input's alpha."""
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        panels = [self._fit(image)]
        if framed.original is not None:
            mode = "L" if framed.original.mode == image.mode == "L" else "RGB"
            panels = [panel.convert(mode) for panel in (framed.original, *panels)]
        if framed.alpha is not None:
            for panel in panels:
                panel.putalpha(framed.alpha)
        if len(panels) == 1:
            return panels[0]
        canvas = Image.new(panels[0].mode, (2 * self.output_size, self.output_size))
        for number, panel in enumerate(panels):
            canvas.paste(panel, (number * self.output_size, 0))
        return canvas

    def _fit(self, image: Image.Image) -> Image.Image:
        """A copy as a square of the output's size."""
        return square_image(image, self.output_size, self.aspect, Image.Resampling.BICUBIC)
