"""What a run accepts as images: tensors, arrays, PIL images, image files, and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from domtrans.data.aspect import Aspect, check_aspect, square_tensor
from domtrans.data.axes import channels_first, image_axes
from domtrans.data.image_files import image_errors, read_image, to_pil
from domtrans.data.image_set import to_channels, to_float, to_uint8
from domtrans.data.pixels import from_pil
from domtrans.data.value_range import BYTES, SIGNED, ValueRange, check_inside, check_range, detect_range_of_few
from domtrans.errors import DomtransError
from domtrans.storage.paths import expand_home

WORDS = (0.0, 65535.0)


@dataclass(frozen=True)
class RunInput:
    """Images as a batch for the network.

    Attributes:
        squares: float32 [B, C, S, S] in [-1, 1], C = 1, 3 or the channels of the reader.
        restore: Outputs, float [B, C, S, S] in [-1, 1], in the type and the range of the input.
    """

    squares: Tensor
    restore: Callable[[Tensor], Any]


@dataclass(frozen=True)
class InputReader:
    """How a run reads images.

    Attributes:
        size: Side of the network's input, in pixels.
        device: Where the batches go.
        aspect: How an image that is not square becomes square.
        value_range: The values of black and white in tensors and arrays. None: by the type; of floats, see
            ``detect_range_of_few``.
        channels: Of f, if its images are neither grey nor RGB: arrays and tensors then have as many.
    """

    size: int
    device: torch.device
    aspect: Aspect = "crop"
    value_range: ValueRange | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        check_aspect(self.aspect)

    @property
    def known_channels(self) -> tuple[int, int]:
        """The numbers of channels that arrays and tensors may have."""
        return known_channels(self.channels)

    def read(self, images: Any) -> RunInput:
        """Read what ``Run.transfer`` takes. Raises DomtransError for anything else."""
        if isinstance(images, list | tuple):
            return self._read_list([self._read_single(image) for image in images])
        if isinstance(images, Tensor):
            return self._read_tensor(images)
        if isinstance(images, np.ndarray):
            return self._read_array(images, _axes(images.shape, self.known_channels))
        return self._read_single(images)

    def _read_single(self, image: Any) -> RunInput:
        """One image: a PIL image, a path, or an array or a tensor, which may be [1 or 3, H, W] here."""
        if isinstance(image, Tensor) and image.ndim == 3:
            batch = self._read_tensor(image[None])
            return RunInput(batch.squares, lambda outputs: batch.restore(outputs)[0])
        if isinstance(image, np.ndarray):
            axes = image_axes(image.shape, self.known_channels)
            if axes is None:
                known = " or ".join(map(str, self.known_channels))
                raise DomtransError(
                    f"an array in a list must be one image [H, W], [H, W, {known}] or [{known}, H, W], not {list(image.shape)}"
                )
            return self._read_array(image, axes)
        if isinstance(image, str | Path):
            image = read_image(Path(expand_home(str(image))))
        if not isinstance(image, Image.Image):
            raise DomtransError(f"images must be tensors, arrays, PIL images, paths or a list of them, not {_describe(image)}")
        with image_errors("the image"):
            squares = to_float(from_pil(image, self.size, aspect=self.aspect)[None]).to(self.device)
        return RunInput(squares, lambda outputs: to_pil(to_uint8(outputs))[0])

    def _read_list(self, images: list[RunInput]) -> RunInput:
        if not images:
            return RunInput(
                torch.empty(0, self.known_channels[1], self.size, self.size, device=self.device), lambda outputs: []
            )
        squares = torch.cat([to_channels(image.squares, self.known_channels[1]) for image in images])
        squares = squares.contiguous(memory_format=torch.channels_last)
        return RunInput(squares, lambda outputs: [image.restore(outputs[i : i + 1]) for i, image in enumerate(images)])

    def _read_tensor(self, images: Tensor) -> RunInput:
        if images.ndim != 4 or images.shape[1] not in self.known_channels:
            known = " or ".join(map(str, self.known_channels))
            raise DomtransError(f"images must be a batch [B, {known}, H, W], not {list(images.shape)}")
        if 0 in images.shape:
            raise DomtransError(f"images of shape {list(images.shape)} are empty")
        images = images.to(self.device)
        black, white = _range_of_type(images) if self.value_range is None else _stated_range(self.value_range, images)
        if images.dtype == torch.uint8 and (black, white) == BYTES:
            return RunInput(to_float(square_tensor(images, self.size, self.aspect)), to_uint8)
        squares = square_tensor(images.float(), self.size, self.aspect)
        if (black, white) == SIGNED:
            return RunInput(squares, lambda outputs: outputs)
        half = (white - black) / 2
        return RunInput((squares - black) / half - 1, lambda outputs: (outputs + 1) * half + black)

    def _read_array(self, images: Any, axes: str) -> RunInput:
        if images.dtype.kind not in "biuf":
            raise DomtransError(f"images must be arrays of numbers, not of {images.dtype}")
        tensor = torch.from_numpy(np.require(images, images.dtype.newbyteorder("="), ["C", "W"]))
        batch = self._read_tensor(channels_first(tensor, axes))
        return RunInput(batch.squares, lambda outputs: _with_axes(batch.restore(outputs), axes))


def known_channels(channels: int) -> tuple[int, int]:
    """The numbers of channels that arrays and tensors may have, for an f that reads ``channels``."""
    return (1, 3) if channels in (1, 3) else (1, channels)


def _stated_range(stated: ValueRange, images: Tensor) -> ValueRange:
    black, white = check_range(stated, "value_range")
    low, high = (float(value) for value in images.float().aminmax())  # NaN if an image has one
    return check_inside((black, white), low, high, "batch of images")


def _range_of_type(images: Tensor) -> ValueRange:
    if images.is_floating_point():
        return detect_range_of_few(images)
    if images.dtype not in (torch.uint8, torch.uint16):
        raise DomtransError(
            f"images must be float, uint8 or uint16, not {images.dtype}; convert them, or give value_range, the values of "
            "black and white"
        )
    return BYTES if images.dtype == torch.uint8 else WORDS


def _axes(shape: Sequence[int], channels: tuple[int, ...]) -> str:
    """The axes of an array outside a list: "HW", "HWC", "NHW", "NHWC" or "NCHW".

    Raises:
        DomtransError: For another shape. [3, H, W] is refused too: it is one RGB image, or the last three of many grey ones.
    """
    axes = image_axes(shape, channels)
    if axes in ("HW", "HWC"):
        return axes
    if axes == "CHW" and shape[0] > 1:
        raise DomtransError(
            f"an array of shape {list(shape)} is one image of {shape[0]} channels or {shape[0]} grey images; give "
            f"{[1, *shape]} or {[*shape, 1]}"
        )
    if len(shape) == 3:
        return "NHW"
    axes = image_axes(shape[1:], channels) if len(shape) == 4 else None
    if axes is None:
        known = " or ".join(map(str, channels))
        raise DomtransError(
            f"images must be an array [H, W], [H, W, {known}], [B, H, W], [B, H, W, {known}] or [B, {known}, H, W], not "
            f"{list(shape)}"
        )
    return f"N{axes}"


def _with_axes(outputs: Tensor, axes: str) -> Any:
    """Outputs [B, C, H, W] as an array with these axes. Without a channel axis, outputs that need one get it at the end."""
    array = outputs.cpu().numpy()
    if axes.endswith("C") or ("C" not in axes and array.shape[1] > 1):
        array = np.moveaxis(array, 1, -1)
    elif "C" not in axes:
        array = array[:, 0]
    return array if axes.startswith("N") else array[0]


def _describe(image: Any) -> str:
    shape = f" of shape {list(image.shape)}" if hasattr(image, "shape") else ""
    return f"{type(image).__name__}{shape}"
