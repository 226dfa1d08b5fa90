"""What a run makes of an image: pixels, or a drawing that has a picture of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from domtrans.data.drawings import Drawing
from domtrans.inference.framing import Pixels
from domtrans.model.inference_engine import InferenceEngine
from domtrans.runs.run import Run


@dataclass(frozen=True)
class PixelOutput:
    """G(x), uint8 [C, S, S]."""

    pixels: Pixels

    def at_size(self, size: int) -> Pixels:
        """The pixels as they are: whoever composes the output resizes them."""
        return self.pixels


@dataclass(frozen=True)
class DrawnOutput:
    """G(x) as a drawing."""

    drawing: Drawing

    def at_size(self, size: int) -> Pixels:
        """The picture, uint8 [3, size, size]."""
        return np.ascontiguousarray(self.drawing.pixels(size).transpose(2, 0, 1))


Output = PixelOutput | DrawnOutput

Network = Callable[[Tensor], list[Output]]
"""Images, uint8 [B, 3, S, S], to their outputs."""


def network_of(run: Run, engine: InferenceEngine) -> Network:
    """G of a run, for batches of files. Raises DomtransError if the inference engine cannot compute it."""
    engine = run.inference_engine(engine)

    def pixels(images: Tensor) -> list[Output]:
        return [PixelOutput(image) for image in run.transfer(images, engine=engine).cpu().numpy()]

    def drawings(images: Tensor) -> list[Output]:
        return [DrawnOutput(run.drawing(parameters)) for parameters in run.parameters(images)]

    return drawings if run.draws_by_parameters else pixels
