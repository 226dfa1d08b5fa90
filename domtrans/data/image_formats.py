"""Image formats: which are read and written, and the file name suffixes that mark them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from domtrans.errors import DomtransError


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


IMAGE_SUFFIXES = _suffixes(
    "png apng jpg jpeg jpe jfif webp bmp dib gif tif tiff ppm pgm pbm pnm pfm avif avifs jp2 j2k jpc jpf jpx j2c"
)
"""File name suffixes that mark an image, in lower case."""

HEIF_SUFFIXES = _suffixes("heic heics heif heifs hif")
"""File name suffixes of images that need the extra "heif"."""

UNSUPPORTED_SUFFIXES = _suffixes(
    "arw cr2 cr3 cur dcm dcx dds dng emf eps exr fit fits hdr icns ico jxl nef nrrd orf pcd pcx ps psd qoi raf ras raw rw2 sgi "
    "svg svs tga wmf xbm xcf xpm"
)
"""File name suffixes of image formats that are not read. A scan names such files, because a user expects them to be read."""

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that are decoded, whatever the suffix. Pillow knows more, and some of those start other programs."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
"""The four bytes after ``ftyp`` at the beginning of an HEIF file."""

ALPHA_FORMATS = ("PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "DDS", "ICNS", "ICO", "IM", "QOI", "SGI", "TGA")
"""Writable formats with an alpha channel."""

RGBA_FORMATS = ("QOI", "SGI")
"""Formats with an alpha channel for colour only, so that grey with alpha is written as colour."""

SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
}
"""Options by format where Pillow's defaults lose visible detail."""


def image_suffixes() -> frozenset[str]:
    """The suffixes that are read as images here: those of HEIF only if the extra "heif" is installed."""
    return IMAGE_SUFFIXES | HEIF_SUFFIXES if find_spec("pillow_heif") else IMAGE_SUFFIXES


def image_format(name: Path) -> str:
    """Pillow's format name for a file name's suffix. Raises DomtransError if Pillow cannot write such files."""
    suffix = name.suffix.lower()
    Image.preinit()  # the common formats; importing all of them takes a tenth of a second
    format_name = Image.EXTENSION.get(suffix) or Image.registered_extensions().get(suffix)
    if format_name is None or format_name not in Image.SAVE or format_name == "HEIF":
        raise DomtransError(f"{name} does not end in the suffix of an image format; use .png or .jpg")
    return format_name
