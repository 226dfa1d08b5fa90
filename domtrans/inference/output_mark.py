"""A mark in output files, so that a later transfer replaces the files of an earlier one and no others.

Images carry it in their metadata, and an SVG in a comment at its end. Files of parameters carry none: people edit them, so
that domtrans never replaces one unasked.
"""

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
SVG_MARK = f"<!-- written by {MARK} -->"
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


def marked_svg(svg: str) -> bytes:
    """The SVG with the mark."""
    return f"{svg.rstrip()}\n{SVG_MARK}\n".encode()


def has_mark(path: Path) -> bool:
    """Whether a file is an image or an SVG that carries the mark."""
    return has_svg_mark(path) if path.suffix.lower() == ".svg" else has_image_mark(path)


def has_svg_mark(path: Path) -> bool:
    """Whether a file ends in the mark of an SVG."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2 * len(SVG_MARK)))
            return SVG_MARK.encode() in file.read()
    except OSError:
        return False
