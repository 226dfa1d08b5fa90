"""Pages of TIFF files and frames of animations, of which only the first is read as an image."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from domtrans.data.planes import MAX_CHANNELS

ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
"""Pillow formats of animations. TIFF has pages instead. What other formats hold beside an image is a preview or a depth map."""

HEADER_BYTES = 4096
"""Bytes from the start of a file that tell whether it can hold several images."""
TIFF_AND_GIF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8")

RGB_CHANNELS = 3
"""The number of channels that is read as colours and not as pages."""


@dataclass(frozen=True)
class Pages:
    """The images in a file that holds several.

    Attributes:
        count: How many.
        are_frames: Whether they are the frames of an animation.
    """

    count: int
    are_frames: bool = False


def can_hold_several(header: bytes) -> bool:
    """Whether a file that begins with this can hold several pages or frames: TIFF, GIF, and animated PNG, WebP and AVIF."""
    is_animated_png = header.startswith(b"\x89PNG") and b"acTL" in header
    is_animated_webp = header.startswith(b"RIFF") and header[12:16] == b"VP8X" and len(header) > 20 and bool(header[20] & 2)
    return header.startswith(TIFF_AND_GIF_STARTS) or is_animated_png or is_animated_webp or header[4:12] == b"ftypavis"


def find_pages(image: Image.Image) -> Pages | None:
    """The pages or frames of an open file; None if it holds one image."""
    count = 1
    if image.format in ("TIFF", *ANIMATED_FORMATS):
        with suppress(Exception):  # damaged pages can raise anything; the first is still valid
            count = int(getattr(image, "n_frames", 1))
    return Pages(count, image.format in ANIMATED_FORMATS) if count > 1 else None


def describe_unread(found: Iterable[Pages | None], verb: str, *, advise: bool = False) -> list[str]:
    """What is not read, such as "only the first of 5 pages of 6 images is read"; nothing without pages.

    Args:
        found: The pages of every image.
        verb: "is read", or what else becomes of the first page.
        advise: Name the option with which every page of a TIFF file is a channel.
    """
    notes = []
    several = [pages for pages in found if pages is not None]
    for noun, are_frames in (("pages", False), ("frames", True)):
        if counts := [pages.count for pages in several if pages.are_frames == are_frames]:
            least, most = min(counts), max(counts)
            many = f"{most:,}" if least == most else f"{least:,} to {most:,}"
            images = f"{len(counts):,} image{'' if len(counts) == 1 else 's'}"
            are_channels = not are_frames and least == most <= MAX_CHANNELS and most != RGB_CHANNELS
            advice = f"; channels={most} reads all" if advise and are_channels else ""
            notes.append(f"only the first of {many} {noun} of {images} {verb}{advice}")
    return notes
