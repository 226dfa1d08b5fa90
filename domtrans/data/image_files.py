"""Picture files and PIL images of any mode and size, to pixels and back to files.

Torch is imported where tensors are made, not here: processes that only decode start without it, in a tenth of the memory.
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

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
"""Endings of files that are taken for pictures."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""What is decoded, whatever a file's ending says. Pillow knows more, some of which start other programs."""

WITH_ALPHA = ("PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000")
"""What of that which can be written holds alpha."""

CAREFULLY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
"""How to write what would otherwise lose more than the eye forgives."""


def read_picture(path: Path) -> Image.Image:
    """A picture file, decoded, turned the way it was taken, as RGB or grey; of an animation the first frame.

    Raises DomtransError if it is missing, cut short, no picture, or large enough to be an attack.
    """
    return decode_picture(path, str(path))


def decode_picture(file: Path | BinaryIO, name: str) -> Image.Image:
    """``read_picture`` of a file or of encoded bytes; ``name``: what an error calls it."""
    with unremarked(), faults_of(name), open_picture(file) as image:
        image.load()
        return flatten(image)


@contextmanager
def unremarked() -> Iterator[None]:
    """A block in which Pillow's remarks on odd files go unheard. It holds for all threads, so it goes around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ``open_picture`` refuses what it is about
        yield


@contextmanager
def faults_of(name: str) -> Iterator[None]:
    """A block that opens and decodes a picture; what goes wrong is told by DomtransError as a fault of the file ``name``."""
    try:
        yield
    except DomtransError:
        raise
    except FileNotFoundError:
        raise DomtransError(f"there is no file {name}") from None
    except Image.DecompressionBombError:
        raise DomtransError(f"{name} has too many pixels to be read safely (limit {Image.MAX_IMAGE_PIXELS:,})") from None
    except UnidentifiedImageError:
        raise DomtransError(f"{name} is not a picture that can be read") from None
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever a damaged file provokes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DomtransError(f"{name} cannot be read: {reason}") from None


def open_picture(file: Path | BinaryIO) -> Image.Image:
    """An image at its first frame, not decoded yet, as a block to be used within ``unremarked`` and ``faults_of``."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("it is no regular file")  # a pipe would be waited for
    with ExitStack() as unless_sound:
        image = unless_sound.enter_context(Image.open(file, formats=FORMATS))
        check_pixels(image.width, image.height)
        unless_sound.pop_all()
    return image


def check_pixels(width: int, height: int) -> None:
    """Refuse what is large enough to be an attack."""
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError


def upright(image: Image.Image) -> Image.Image:
    """An image turned the way it was taken, as its EXIF data says."""
    with suppress(Exception):  # damaged EXIF data, which provokes anything: the pixels are sound all the same
        return ImageOps.exif_transpose(image)
    return image


def transparency(image: Image.Image) -> Image.Image | None:
    """The alpha of an image, as "L"; None if it has none."""
    image = with_alpha(image)
    return image.getchannel("A") if image.mode == "RGBA" else None


def with_alpha(image: Image.Image) -> Image.Image:
    """An image that says anything of transparency, as "RGBA"; any other as it is."""
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return image
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")  # of La, Pillow knows no other way out


def flatten(image: Image.Image) -> Image.Image:
    """Any mode to "L" or "RGB": EXIF rotation applied, transparency laid over white, 16 bits and floats scaled to 8."""
    return level(upright(image))


def level(image: Image.Image) -> Image.Image:
    """``flatten`` of an image that is upright."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.array(image, dtype=np.float32)  # and from here on in place: the picture may be a large one
        finite = values[np.isfinite(values)] if image.mode == "F" else values.ravel()
        ends = (0.0, 65535.0) if image.mode.startswith("I;16") else (finite.min(initial=np.inf), finite.max(initial=-np.inf))
        low, high = map(float, ends) if finite.size else (0.0, 0.0)
        np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
        values -= low
        values *= 255 / max(high - low, 1e-9)
        return Image.fromarray(values.round().astype(np.uint8))
    image = with_alpha(image)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def from_pil(image: Image.Image, size: int, channels: int = 3) -> Tensor:
    """The centre square of an image, resized: uint8 [channels, size, size]. Raises DomtransError for an empty one."""
    import torch

    return torch.from_numpy(square_pixels(image, size, channels))


def square_pixels(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``from_pil`` as an array."""
    return flat_square(flatten(image), size, channels)


def flat_square(image: Image.Image, size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """``square_pixels`` of an image that is flat."""
    if 0 in image.size:
        raise DomtransError(f"an image of {image.width} x {image.height} pixels holds nothing")
    image = image.convert("RGB" if channels == 3 else "L")
    pixels = np.array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None]


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 1 or 3, H, W] to PIL images of mode "L" or "RGB"."""
    arrays = images.cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def format_of(name: Path) -> str:
    """Pillow's name for the kind of picture that a file's ending asks for; DomtransError if there is none to write."""
    kind = Image.registered_extensions().get(name.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise DomtransError(f"{name} has no ending that says which kind of picture to write; use .png or .jpg")
    return kind


def encode_picture(image: Image.Image, kind: str, name: str, **options: Any) -> bytes:
    """The bytes of a picture file; ``kind``: as ``format_of`` says. Its alpha is left out where the kind has none.

    Raises DomtransError, calling it ``name``, for what the kind cannot hold.
    """
    if image.mode in ("LA", "RGBA") and kind not in WITH_ALPHA:
        image = image.convert(image.mode[:-1])
    file = io.BytesIO()
    try:
        image.save(file, kind, **CAREFULLY.get(kind, {}), **options)
    except (OSError, ValueError) as error:
        raise DomtransError(f"{name} cannot be written: {error}") from None
    return file.getvalue()


def find_pictures(folder: Path, endings: Collection[str] = SUFFIXES) -> list[Path]:
    """All picture files under a folder, sorted by name; ``endings``: of the names of those that are meant.

    Passed over: what is hidden, folders that are links or may not be opened, and what is no regular file (pipes, devices,
    links that lead nowhere), whatever its name.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in endings and os.path.isfile(path)]  # noqa: PTH113 - never raises
    return sorted(found)


def read_pictures(paths: Sequence[Path], size: int, channels: int = 3) -> Tensor:
    """uint8 [N, channels, size, size] from picture files; raises DomtransError naming the first that cannot be read."""
    import torch

    return torch.stack([from_pil(read_picture(path), size, channels) for path in paths])
