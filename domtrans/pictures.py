"""Picture files and PIL images of any mode and size, to pixels and back.

Torch is imported where tensors are made, not here: processes that only decode start without it, in a tenth of the memory.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
"""Endings of files that are taken for pictures."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""What is decoded, whatever a file's ending says. Pillow knows more, some of which start other programs."""


def read_picture(path: Path) -> Image.Image:
    """A picture file, decoded, turned the way it was taken, as RGB or grey; of an animation the first frame.

    Raises DomtransError if it is missing, cut short, no picture, or large enough to be an attack.
    """
    return decode_picture(path, str(path))


def decode_picture(file: Path | BinaryIO, name: str) -> Image.Image:
    """``read_picture`` of a file or of encoded bytes; ``name``: what an error calls it."""
    try:
        if isinstance(file, Path) and file.exists() and not file.is_file():
            raise OSError("it is no regular file")  # a pipe would be waited for
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                image.load()
                return flatten(image)
    except FileNotFoundError:
        raise DomtransError(f"there is no file {name}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DomtransError(f"{name} has too many pixels to be read safely (limit {Image.MAX_IMAGE_PIXELS:,})") from None
    except UnidentifiedImageError:
        raise DomtransError(f"{name} is not a picture that can be read") from None
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever a damaged file provokes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DomtransError(f"{name} cannot be read: {reason}") from None


def flatten(image: Image.Image) -> Image.Image:
    """Any mode to "L" or "RGB": EXIF rotation applied, transparency laid over white, 16 bits and floats scaled to 8."""
    with contextlib.suppress(Exception):  # damaged EXIF data, which provokes anything: the pixels are sound all the same
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.array(image, dtype=np.float32)  # and from here on in place: the picture may be a large one
        finite = values[np.isfinite(values)] if image.mode == "F" else values.ravel()
        ends = (0.0, 65535.0) if image.mode.startswith("I;16") else (finite.min(initial=np.inf), finite.max(initial=-np.inf))
        low, high = map(float, ends) if finite.size else (0.0, 0.0)
        np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
        values -= low
        values *= 255 / max(high - low, 1e-9)
        return Image.fromarray(values.round().astype(np.uint8))
    if image.mode == "La":
        image = image.convert("LA")  # the one way out of it that Pillow knows
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def from_pil(image: Image.Image, size: int, channels: int = 3) -> Tensor:
    """The centre square of an image, resized: uint8 [channels, size, size]. Raises DomtransError for an empty one."""
    import torch

    return torch.from_numpy(square_pixels(image, size, channels))


def square_pixels(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``from_pil`` as an array."""
    if 0 in image.size:
        raise DomtransError(f"an image of {image.width} x {image.height} pixels holds nothing")
    image = flatten(image).convert("RGB" if channels == 3 else "L")
    pixels = np.array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None]


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 1 or 3, H, W] to PIL images of mode "L" or "RGB"."""
    arrays = images.cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def find_pictures(folder: Path) -> list[Path]:
    """All picture files under a folder, sorted by name.

    Passed over: what is hidden, folders that are links or may not be opened, and what is no regular file (pipes, devices,
    links that lead nowhere), whatever its name.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES and os.path.isfile(path)]  # noqa: PTH113 - never raises
    return sorted(found)


def read_pictures(paths: Sequence[Path], size: int, channels: int = 3) -> Tensor:
    """uint8 [N, channels, size, size] from picture files; raises DomtransError naming the first that cannot be read."""
    import torch

    return torch.stack([from_pil(read_picture(path), size, channels) for path in paths])
