"""PIL images of any mode to 8-bit sRGB pixels: what a file says about depth, colours, transparency and rotation is applied."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, TiffImagePlugin

from domtrans.data.aspect import Aspect, square_image
from domtrans.data.colour import colours_to_srgb, find_profile, grey_to_srgb

if TYPE_CHECKING:
    from torch import Tensor

FLOAT_TOLERANCE = 0.05
"""How far float values may lie outside 0 to 1, as after resampling. They are clipped."""

ORIENTATION = 0x0112
"""EXIF and TIFF tag of the rotation."""
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""TIFF tags."""
WHITE_IS_ZERO, SIGNED = 0, 2
"""Values of the last two."""

ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of this orientation upright."""


def flatten(image: Image.Image) -> Image.Image:
    """``standardize``, with transparency over white: mode "L" or "RGB"."""
    return over_white(standardize(image))


def over_white(image: Image.Image) -> Image.Image:
    """A standardized image without its alpha channel: mode "L" or "RGB"."""
    if image.mode not in ("LA", "RGBA"):
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def standardize(image: Image.Image) -> Image.Image:
    """A copy of an image of any mode in 8-bit sRGB, upright as its EXIF data says: mode "L", "LA", "RGB" or "RGBA".

    Grey of more than 8 bits is scaled by the range of its type: 65535 for 16 bits, the largest value that a TIFF of another
    depth can store, and 1 for floats. Negative values are black. Colours are converted as the ICC profile says, or a PNG's
    gamma and primaries.

    Raises:
        ValueError: If floats are not between 0 and 1.
    """
    profile = find_profile(image)
    rotation = ROTATIONS.get(_orientation(image))
    result = _wide_to_grey(image, profile) if image.mode.startswith("I") or image.mode == "F" else _to_srgb(image, profile)
    if rotation is not None:
        result = result.transpose(rotation)
    elif result is image:
        result = image.copy()
    result.info = {}  # applied; a second reader must not apply it again
    return result


def from_pil(image: Image.Image, size: int, channels: int = 3, aspect: Aspect = "crop") -> Tensor:
    """An image of any mode and shape as uint8 [channels, size, size].

    Args:
        image: An image.
        size: Side of the result in pixels.
        channels: 1 (grey) or 3 (RGB).
        aspect: How an image that is not square becomes square.

    Raises:
        DomtransError: If the image has no pixels.
        ValueError: If it has floats that are not between 0 and 1.
    """
    import torch

    return torch.from_numpy(square_array(image, size, channels, aspect))


def square_array(image: Image.Image, size: int, channels: int = 3, aspect: Aspect = "crop") -> npt.NDArray[np.uint8]:
    """``from_pil`` as a numpy array."""
    return flat_square_array(flatten(image), size, channels, aspect)


def flat_square_array(image: Image.Image, size: int, channels: int = 3, aspect: Aspect = "crop") -> npt.NDArray[np.uint8]:
    """``square_array`` of an image that ``flatten`` returned."""
    mode = "RGB" if channels == 3 else "L"
    pixels = np.array(square_image(image if image.mode == mode else image.convert(mode), size, aspect))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None]


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # damaged EXIF data can raise anything; the pixels are still valid
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of 8 bits or fewer as "L", "LA", "RGB" or "RGBA"."""
    if image.mode == "CMYK" and profile is not None:
        image = colours_to_srgb(image, profile)
        profile = None
    image = _to_plain_mode(image)
    if profile is None:
        return image
    if image.mode in ("RGB", "RGBA"):
        return colours_to_srgb(image, profile)
    curve = grey_to_srgb(profile)
    if curve is None:
        return image
    grey, *alpha = image.split()
    return Image.merge(image.mode, [grey.point(curve.tolist()), *alpha])


def _to_plain_mode(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")  # Pillow converts "La" only to "LA"
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        return image.convert("LA" if grey else "RGBA")
    return image.convert("L" if grey else "RGB")


def _wide_to_grey(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Grey of more than 8 bits as "L" or, with a transparent value, "LA"."""
    values, maximum = np.array(image), 65535  # Pillow's own convention for mode "I" of unknown depth
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if image.mode == "F":
        maximum = 1
    elif tags:
        bits, signed = int(tags.get(BITS_PER_SAMPLE, (16,))[0]), tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
        values, maximum = values if signed or bits < 32 else values.view(np.uint32), 2 ** (bits - signed) - 1
    transparent = image.info.get("transparency")
    alpha = None if not isinstance(transparent, int) else Image.fromarray((values != transparent).astype(np.uint8) * 255)
    values = values.astype(np.float32)  # all further steps work in place: the image may be large
    if image.mode == "F":
        _check_floats(values)
    values *= 255 / maximum
    np.clip(values, 0, 255, out=values)
    curve = None if profile is None else grey_to_srgb(profile)
    if curve is not None:
        values = np.interp(values, np.arange(256), curve)
    grey = Image.fromarray(values.round().astype(np.uint8))
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts only images of 8 bits or fewer
        grey = ImageChops.invert(grey)
    return grey if alpha is None else Image.merge("LA", (grey, alpha))


def _check_floats(values: npt.NDArray[np.float32]) -> None:
    """Replace NaN by black and infinities by black and white, in place. Raise ValueError if values are not from 0 to 1."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low < -FLOAT_TOLERANCE or high > 1 + FLOAT_TOLERANCE:
        raise ValueError(f"its float values are from {low:.4g} to {high:.4g}, but floats must be from 0 (black) to 1 (white)")
    np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
