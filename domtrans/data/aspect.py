"""Images of any shape to squares: cropped, padded or squeezed, the same for PIL images and for tensors.

The results of the two agree to within one level of 255. Torch is imported inside the functions that need it, because decode
processes start without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from torch import Tensor

Aspect = Literal["crop", "pad", "squeeze"]
"""How an image that is not square becomes square: its centre square, the whole image with its border pixels repeated, or the
whole image resized to a square."""

MAX_BLOCK_VALUES = 2**24
"""Values of a tensor that are resized at a time."""


def check_aspect(aspect: str | None) -> None:
    """Raise DomtransError for an aspect that does not exist; None stands for a default."""
    if aspect not in (None, *get_args(Aspect)):
        raise DomtransError(f"the aspect '{aspect}' is not supported; choose {', '.join(get_args(Aspect))}")


def square_image(
    image: Image.Image, size: int, aspect: Aspect = "crop", resample: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    """A copy of an image, ``size`` x ``size`` pixels. Raises DomtransError if the image has no pixels."""
    width, height = image.size
    if not (width and height):
        raise DomtransError(f"an image of {width} x {height} pixels is empty")
    if aspect == "squeeze" or width == height:
        return image.resize((size, size), resample)
    if aspect == "crop":
        return ImageOps.fit(image, (size, size), resample)
    # The long side is resized first, so that a panorama is not padded at its full size.
    image = image.resize((size, height) if width > height else (width, size), resample)
    missing = abs(width - height)
    border = (missing // 2, missing - missing // 2)
    pixels = np.asarray(image)
    borders = [border, (0, 0)] if width > height else [(0, 0), border]
    padded = np.pad(pixels, [*borders, (0, 0)][: pixels.ndim], mode="edge")
    return Image.fromarray(padded).resize((size, size), resample)


def square_tensor(images: Tensor, size: int, aspect: Aspect = "crop") -> Tensor:
    """Images [B, C, H, W], uint8 or float, resized with antialiasing to [B, C, size, size] of the same type."""
    height, width = images.shape[-2:]
    if aspect == "squeeze" or height == width:
        return resize(images, size)
    side = min(height, width) if aspect == "crop" else max(height, width)
    rows, columns = _weights(height, side, size).to(images.device), _weights(width, side, size).to(images.device)
    return _in_blocks(images, lambda block: rows @ (block @ columns.T) if width > height else (rows @ block) @ columns.T)


def resize(images: Tensor, size: int) -> Tensor:
    """Images [B, C, H, W], uint8 or float, to [B, C, size, size], bilinear with antialiasing."""
    import torch.nn.functional as F

    if tuple(images.shape[-2:]) == (size, size):
        return images
    return _in_blocks(images, lambda block: F.interpolate(block, (size, size), mode="bilinear", antialias=True))


def _in_blocks(images: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of float images, applied to a few images at a time to limit memory; uint8 is rounded."""
    import torch

    blocks = []
    for block in images.split(max(1, MAX_BLOCK_VALUES // max(1, images[:1].numel()))):
        result = function(block.float())
        is_bytes = images.dtype == torch.uint8
        blocks.append(result.round_().clamp_(0, 255).to(torch.uint8) if is_bytes else result.to(images.dtype))
    return torch.cat(blocks)


def _weights(length: int, side: int, size: int) -> Tensor:
    """Weights of the ``length`` pixels of a line in the ``size`` pixels that its centre ``side`` pixels become.

    They are those of Pillow's bilinear filter, which also weighs pixels just outside the centre. If ``side`` is larger than
    ``length``, the pixels that are missing on both ends are copies of the first and the last one.

    Returns:
        float32 [size, length].
    """
    import torch

    start = (length - side) / 2 if side <= length else -((side - length) // 2)
    positions = torch.arange(min(0, int(start)), max(length, int(start) + side), dtype=torch.float64)
    scale = side / size
    centres = start + (torch.arange(size, dtype=torch.float64) + 0.5) * scale
    weights = (1 - (positions + 0.5 - centres[:, None]).abs() / max(1, scale)).clamp_(min=0)
    weights /= weights.sum(1, keepdim=True)
    pixels = positions.long().clamp_(0, length - 1)
    return torch.zeros(size, length, dtype=torch.float64).index_add_(1, pixels, weights).float()
