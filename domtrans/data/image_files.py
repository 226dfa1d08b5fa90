"""Reading and writing image files.

Torch is imported inside the functions that make tensors, so that decode processes start without it, in a tenth of the memory.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from domtrans.data.aspect import Aspect
from domtrans.data.image_formats import ALPHA_FORMATS, HEIF_BRANDS, READABLE_FORMATS, RGBA_FORMATS, SAVE_OPTIONS
from domtrans.data.pixel_limit import MAX_PIXELS_VARIABLE, check_pixel_count, pixel_limit
from domtrans.data.pixels import flatten, from_pil
from domtrans.errors import DomtransError, reason_of
from domtrans.optional import require_extra

if TYPE_CHECKING:
    from torch import Tensor

CLEAR_INDEX = 255
"""The clear colour in a palette."""


def read_image(path: Path) -> Image.Image:
    """An image file, upright and in sRGB as its metadata says, as RGB or grey. Of an animation, the first frame.

    Raises:
        DomtransError: If the file is missing, truncated, not an image, or has too many pixels.
    """
    return decode_image(path, str(path))


def decode_image(file: Path | BinaryIO, name: str, max_pixels: int | None = None) -> Image.Image:
    """Decode an image file or encoded bytes, upright and in sRGB as its metadata says, as RGB or grey.

    Args:
        file: A path, or a binary stream of the encoded image. Of an animation, the first frame is decoded.
        name: What error messages call it.
        max_pixels: Limit of width times height; 0: none; None: that of the variable DOMTRANS_MAX_PIXELS, or of Pillow.

    Raises:
        DomtransError: If the file is missing, truncated, not an image, or above the limit.
    """
    with silence_pillow_warnings(), pixel_limit(max_pixels), image_errors(name), open_image(file) as image:
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
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))  # Pillow's own message begins with the number, too
        raise DomtransError(
            f"{name} has {int(count[0]) if count else 0:,} pixels, more than the limit of {Image.MAX_IMAGE_PIXELS or 0:,}; if "
            f"you trust it, raise the limit (0: none) with --max-pixels, the option max_pixels, or {MAX_PIXELS_VARIABLE}"
        ) from None
    except UnidentifiedImageError:
        raise DomtransError(f"{name} is not an image that can be read") from None
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow raise almost anything
        raise DomtransError(f"{name} cannot be read: {reason_of(error, 120)}") from None


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open an image without decoding it, as a context manager inside ``silence_pillow_warnings`` and ``image_errors``."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("it is not a regular file")  # opening a pipe would block
    with ExitStack() as close_on_error:
        image = close_on_error.enter_context(_open_readable(file))
        check_pixel_count(image.width, image.height)
        close_on_error.pop_all()
    return image


def _open_readable(file: Path | BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=READABLE_FORMATS)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
    name = str(file) if isinstance(file, Path) else str(getattr(file, "name", "the input"))
    require_extra("pillow_heif", "heif", f"the HEIF image {name}").register_heif_opener()
    return Image.open(file, formats=("HEIF",))


def _is_heif(file: Path | BinaryIO) -> bool:
    """Whether a file begins like an HEIF image. A stream is left at its beginning."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return _is_heif(stream)
    file.seek(0)
    start = file.read(12)
    file.seek(0)
    return start[4:8] == b"ftyp" and start[8:] in HEIF_BRANDS


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 1 or 3, H, W] to PIL images of mode "L" or "RGB"."""
    arrays = images.cpu().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in arrays]


def writable_mode(image: Image.Image, format_name: str) -> Image.Image:
    """The image in a mode that the format can hold. Alpha is dropped if the format has none."""
    if image.mode not in ("LA", "RGBA"):
        return image
    if format_name not in ALPHA_FORMATS:
        return image.convert(image.mode[:-1])
    if format_name == "GIF":
        return _with_clear_index(image)
    return image.convert("RGBA") if format_name in RGBA_FORMATS else image


def _with_clear_index(image: Image.Image) -> Image.Image:
    """An image with alpha as a palette with one clear colour. Pillow's own palette may merge it with an equal opaque colour."""
    indexed = image.convert("RGB").quantize(CLEAR_INDEX)
    indexed.paste(CLEAR_INDEX, mask=image.getchannel("A").point(lambda alpha: 255 if alpha < 128 else 0))
    indexed.info["transparency"] = CLEAR_INDEX
    return indexed


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
    file = io.BytesIO()
    try:
        writable_mode(image, format_name).save(file, format_name, **SAVE_OPTIONS.get(format_name, {}), **options)
    except (OSError, ValueError) as error:
        raise DomtransError(f"{name} cannot be written: {error}") from None
    return file.getvalue()


def read_images(paths: Sequence[Path], size: int, channels: int = 3, aspect: Aspect = "crop") -> Tensor:
    """Read image files as squares.

    Args:
        paths: Image files.
        size: Side of the result in pixels.
        channels: 1 (grey) or 3 (RGB).
        aspect: How an image that is not square becomes square: "crop" to its centre, "pad" with its border pixels, or
            "squeeze".

    Returns:
        uint8 [N, channels, size, size].

    Raises:
        DomtransError: If a file cannot be read; the message names the first such file.
    """
    import torch

    return torch.stack([from_pil(read_image(path), size, channels, aspect) for path in paths])


read_pictures = read_images
"""The old name of ``read_images``."""
