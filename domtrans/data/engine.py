"""The base class of drawing engines: what draws the images of a domain from parameters."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans.data.parameters import Parameters, ParameterSpace


class DrawingEngine(ABC):
    """Draws an image from its parameters. A RenderedSet names the engine that drew its images.

    The drawing depends on the parameters and on ``options`` alone. An engine is built without rendering an image, and it can
    be pickled. Its methods take parameters that ``space.check`` returned.

    Attributes:
        space: The parameters that the engine takes.
        options: Those options of the domain that the drawing depends on, as JSON has them. The domain with these options has
            an equal engine.
        version: The version of what draws, e.g. "dicebear-styles 10.6.0". Files of parameters record it.
    """

    space: ParameterSpace
    options: Mapping[str, Any] = {}
    version: str = ""

    @abstractmethod
    def to_svg(self, parameters: Parameters) -> str:
        """The drawing as an SVG document with a ``viewBox``, without scripts and references to other files."""

    def rasterise(self, parameters: Parameters, size: int) -> npt.NDArray[np.uint8]:
        """The drawing as pixels; by default those of the SVG, drawn by resvg without system fonts.

        Args:
            parameters: The value of every slot.
            size: Side of the image in pixels.

        Returns:
            uint8 [size, size, 3].
        """
        import resvg_py

        png = resvg_py.svg_to_bytes(svg_string=self.to_svg(parameters), width=size, height=size, skip_system_fonts=True)
        with Image.open(io.BytesIO(png)) as image:
            return np.array(image.convert("RGB"))

    def attributes(self, parameters: Parameters) -> Mapping[str, str]:
        """The attribute values that the drawing shows, in the vocabulary of the domain; none by default."""
        return {}
