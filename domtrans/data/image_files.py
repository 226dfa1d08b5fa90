"""Reading and writing image files: any Pillow mode and size, to uint8 pixels and back.

Torch is imported inside the functions that make tensors, so that decode processes start without it, in a tenth of the memory.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
"""File name suffixes that mark an image."""

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""Formats that are decoded, whatever the suffix. Pillow knows more, and some of those start other programs."""

ALPHA_FORMATS = ("PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000")
"""Writable formats with an alpha channel."""

SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
"""Options by format where Pillow's defaults lose visible detail."""


def read_image(path: Path) -> Image.Image:
    """An image file, decoded and rotated as its EXIF data says, as RGB or grey. Of an animation, the first frame.

    Raises:
        DomtransError: If the file is missing, truncated, not an image, or a decompression bomb.
    """
    return decode_image(path, str(path))


def decode_image(file: Path | BinaryIO, name: str) -> Image.Image:
    """Decode an image file or encoded bytes, rotated as the EXIF data says, as RGB or grey.

    Args:
        file: A path, or a binary stream of the encoded image. Of an animation, the first frame is decoded.
        name: What error messages call it.

    Raises:
        DomtransError: If the file is missing, truncated, not an image, or a decompression bomb.
    """
    with silence_pillow_warnings(), image_errors(name), open_image(file) as image:
        image.load()
        return flatten(image)


decode_picture = decode_image
"""The old name of ``decode_image``."""


@contextmanager
def silence_pillow_warnings() -> Iterator[None]:
    """Hide Pillow's warnings about odd files. The setting holds for all threads, so enter this before starting threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ``open_image`` raises an error for these
        yield


@contextmanager
def image_errors(name: str) -> Iterator[None]:
    """Turn every error of opening or decoding an image into a DomtransError about the file ``name``."""
    try:
        yield
    except DomtransError:
        raise
    except FileNotFoundError:
        raise DomtransError(f"there is no file {name}") from None
    except Image.DecompressionBombError:
        raise DomtransError(f"{name} has too many pixels to be read safely (limit {Image.MAX_IMAGE_PIXELS:,})") from None
    except UnidentifiedImageError:
        raise DomtransError(f"{name} is not an image that can be read") from None
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow raise almost anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DomtransError(f"{name} cannot be read: {reason}") from None


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open an image without decoding it, as a context manager inside ``silence_pillow_warnings`` and ``image_errors``."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("it is not a regular file")  # opening a pipe would block
    with ExitStack() as close_on_error:
        image = close_on_error.enter_context(Image.open(file, formats=READABLE_FORMATS))
        check_pixel_count(image.width, image.height)
        close_on_error.pop_all()
    return image


def check_pixel_count(width: int, height: int) -> None:
    """Raise DecompressionBombError above Pillow's limit, where Pillow itself only warns."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError


def apply_exif_rotation(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF data says."""
    with suppress(Exception):  # damaged EXIF data can raise anything; the pixels are still valid
        return ImageOps.exif_transpose(image)
    return image


def alpha_channel(image: Image.Image) -> Image.Image | None:
    """The alpha channel in mode "L", or None if the image has none."""
    image = to_rgba_if_transparent(image)
    return image.getchannel("A") if image.mode == "RGBA" else None


def to_rgba_if_transparent(image: Image.Image) -> Image.Image:
    """An image with transparency of any kind as "RGBA"; other images unchanged."""
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return image
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # Pillow converts "La" only to "LA"


def flatten(image: Image.Image) -> Image.Image:
    """Any mode to "L" or "RGB": EXIF rotation applied, transparency over white, 16 bits and floats scaled to 8 bits."""
    return flatten_upright(apply_exif_rotation(image))


def flatten_upright(image: Image.Image) -> Image.Image:
    """``flatten`` for an image whose EXIF rotation has been applied."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.array(image, dtype=np.float32)  # all further steps work in place: the image may be large
        finite = values[np.isfinite(values)] if image.mode == "F" else values.ravel()
        ends = (0.0, 65535.0) if image.mode.startswith("I;16") else (finite.min(initial=np.inf), finite.max(initial=-np.inf))
        low, high = map(float, ends) if finite.size else (0.0, 0.0)
        np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
        values -= low
        values *= 255 / max(high - low, 1e-9)
        return Image.fromarray(values.round().astype(np.uint8))
    image = to_rgba_if_transparent(image)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def from_pil(image: Image.Image, size: int, channels: int = 3) -> Tensor:
    """The centre square of an image, resized: uint8 [channels, size, size]. Raises DomtransError for an empty image."""
    import torch

    return torch.from_numpy(square_array(image, size, channels))


def square_array(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``from_pil`` as a numpy array."""
    return flat_square_array(flatten(image), size, channels)


def flat_square_array(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``square_array`` of an image that ``flatten`` returned."""
    if 0 in image.size:
        raise DomtransError(f"an image of {image.width} x {image.height} pixels is empty")
    image = image.convert("RGB" if channels == 3 else "L")
    pixels = np.array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None]


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 1 or 3, H, W] to PIL images of mode "L" or "RGB"."""
    arrays = images.cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def image_format(name: Path) -> str:
    """Pillow's format name for a file name's suffix. Raises DomtransError if Pillow cannot write such files."""
    format_name = Image.registered_extensions().get(name.suffix.lower())
    if format_name is None or format_name not in Image.SAVE:
        raise DomtransError(f"{name} does not end in the suffix of an image format; use .png or .jpg")
    return format_name


def encode_image(image: Image.Image, format_name: str, name: str, **options: Any) -> bytes:
    """The bytes of an image file. Alpha is dropped if the format has none.

    Args:
        image: Any mode that the format can hold.
        format_name: Pillow's name, as ``image_format`` returns it.
        name: What error messages call the file.
        options: For ``Image.save``.

    Raises:
        DomtransError: If the format cannot hold the image.
    """
    if image.mode in ("LA", "RGBA") and format_name not in ALPHA_FORMATS:
        image = image.convert(image.mode[:-1])
    file = io.BytesIO()
    try:
        image.save(file, format_name, **SAVE_OPTIONS.get(format_name, {}), **options)
    except (OSError, ValueError) as error:
        raise DomtransError(f"{name} cannot be written: {error}") from None
    return file.getvalue()


def find_images(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """All image files under a folder, sorted by path.

    Skips hidden files and folders, folders that are links or not readable, and everything that is not a regular file (pipes,
    devices, broken links).

    Args:
        folder: Searched with all its subfolders.
        suffixes: File name suffixes to accept, in lower case and with the dot.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in suffixes and os.path.isfile(path)]  # noqa: PTH113 - never raises
    return sorted(found)


def find_pictures(folder: Path, endings: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The old name of ``find_images``."""
    return find_images(folder, endings)


def read_images(paths: Sequence[Path], size: int, channels: int = 3) -> Tensor:
    """Read image files: their centre squares, resized.

    Args:
        paths: Image files.
        size: Side of the result in pixels.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        uint8 [N, channels, size, size].

    Raises:
        DomtransError: If a file cannot be read; the message names the first such file.
    """
    import torch

    return torch.stack([from_pil(read_image(path), size, channels) for path in paths])


read_pictures = read_images
"""The old name of ``read_images``."""
