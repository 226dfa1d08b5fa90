"""A mark in the metadata of output files, so that a later transfer replaces the files of an earlier one and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from domtrans.data.image_files import image_errors, open_image
from domtrans.errors import DomtransError

MARK = "domtrans"
COMMENT_FORMATS = ("GIF", "JPEG2000")
"""Formats that carry the mark as a comment."""
EXIF_SOFTWARE = 0x0131
"""EXIF and TIFF tag with the name of the program that wrote the file."""


def mark_options(format_name: str) -> dict[str, Any]:
    """Options of ``Image.save`` that write the mark; empty for formats that domtrans cannot mark, such as BMP.

    The mark does not change pixels.
    """
    if format_name == "PNG":
        info = PngInfo()
        info.add_text("Software", MARK)
        return {"pnginfo": info}
    if format_name in ("JPEG", "WEBP", "TIFF", "AVIF"):
        exif = Image.Exif()
        exif[EXIF_SOFTWARE] = MARK
        return {"exif": exif}
    return {"comment": MARK} if format_name in COMMENT_FORMATS else {}


def has_image_mark(path: Path) -> bool:
    """Whether a file is an image that carries the mark. Reads the header only."""
    try:
        with image_errors(str(path)), open_image(path) as image:
            if image.format in ("PNG", *COMMENT_FORMATS):
                text = image.info.get("Software" if image.format == "PNG" else "comment", "")
                return text in (MARK, MARK.encode())
            return image.getexif().get(EXIF_SOFTWARE) == MARK
    except DomtransError:
        return False
