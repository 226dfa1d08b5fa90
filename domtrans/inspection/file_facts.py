"""What one image is, from its header and its pixels, and a table of millions of such facts."""

from __future__ import annotations

import hashlib
import io
from array import array
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from domtrans.data.decode_worker import NO_COPIES, Copies, Location, name_of, read_bytes
from domtrans.data.image_files import decode_image, image_errors, open_image
from domtrans.data.pixel_limit import pixel_limit
from domtrans.data.planes import decode_planes
from domtrans.errors import DomtransError

HEADER_BYTES = 2**16
"""Bytes in which the header of nearly every image is."""

HASHED_SIDE = 64
"""Side in pixels to which images of other channels than grey and RGB are resized before they are hashed."""

MAX_DAMAGED_NAMED = 20
"""Damaged images whose names are kept."""

GREY_MODES = frozenset({"1", "L", "LA", "La", "F"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


@dataclass(frozen=True)
class ImageFacts:
    """What is known about an image.

    Attributes:
        width: Pixels.
        height: Pixels.
        kind: "grey" or "colour", with " with alpha" if it has transparency; or "5 channels".
        format: Pillow's name of the format; empty for arrays.
        content: The first 8 bytes of the SHA-256 of the file, or of the pixels of an array. Equal files have equal numbers.
        appearance: ``difference_hash``; similar images differ in few bits.
        decoded: Whether the image was decoded, so that ``content`` and ``appearance`` are valid.
    """

    width: int
    height: int
    kind: str
    format: str = ""
    content: int = 0
    appearance: int = 0
    decoded: bool = False


class FactsTable:
    """The facts of all images of a split in about 25 bytes an image, without any pixels."""

    def __init__(self) -> None:
        self.widths, self.heights = array("i"), array("i")
        self.content, self.appearance = array("Q"), array("Q")
        self.position = array("q")
        """Of every image that was decoded: its position in the split."""
        self.kinds: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()
        self.count = 0
        self.checked = 0
        self.damaged = 0
        self.damaged_examples: list[tuple[str, str]] = []
        """Name and reason of the first damaged images."""

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        columns = (self.widths, self.heights, self.content, self.appearance, self.position)
        return sum(column.itemsize * len(column) for column in columns)

    def add(self, facts: ImageFacts) -> None:
        """Add the next image of the split."""
        self.widths.append(facts.width)
        self.heights.append(facts.height)
        self.kinds[facts.kind] += 1
        if facts.format:
            self.formats[facts.format] += 1
        if facts.decoded:
            self.content.append(facts.content)
            self.appearance.append(facts.appearance)
            self.position.append(self.count)
            self.checked += 1
        self.count += 1

    def add_damaged(self, name: str, reason: str) -> None:
        """Count an image that cannot be read."""
        self.damaged += 1
        self.checked += 1
        self.count += 1
        if len(self.damaged_examples) < MAX_DAMAGED_NAMED:
            self.damaged_examples.append((name, reason))


def read_facts(
    location: Location,
    *,
    decode: bool = True,
    channels: int = 3,
    max_pixels: int | None = None,
    copies: Copies = NO_COPIES,
) -> ImageFacts:
    """The facts of an image file, or of a byte range of one.

    Args:
        location: Where the image is.
        decode: Decode the image and hash it. Otherwise, only its header is read.
        channels: The channels that it is decoded with, as in ``StoredImages``.
        max_pixels: Limit of width times height; 0: none; None: that of the environment, or of Pillow.
        copies: Local copies of remote files.

    Raises:
        DomtransError: If it cannot be read.
    """
    path, offset, length = location
    if not decode and length > HEADER_BYTES:
        try:
            return _header_facts(read_bytes((path, offset, HEADER_BYTES), copies), name_of(location), channels, max_pixels)
        except DomtransError:
            pass  # some formats have no header at the beginning
    content = read_bytes(location, copies)
    facts = _header_facts(content, name_of(location), channels, max_pixels)
    if not decode:
        return facts
    if channels in (1, 3):
        image = decode_image(io.BytesIO(content), name_of(location), max_pixels)
    else:
        image = Image.fromarray(
            decode_planes(io.BytesIO(content), name_of(location), HASHED_SIDE, channels, "squeeze", max_pixels)[0]
        )
    return replace(facts, content=content_hash(content), appearance=difference_hash(image), decoded=True)


def pixel_facts(pixels: np.ndarray, width: int, height: int) -> ImageFacts:
    """The facts of an image in memory, uint8 [C, H, W], that was ``width`` x ``height`` pixels before it was resized."""
    channels = len(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)) if channels == 3 else pixels[0])
    kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    return ImageFacts(width, height, kind, "", content_hash(pixels.tobytes()), difference_hash(image), decoded=True)


def content_hash(content: bytes) -> int:
    """The first 8 bytes of the SHA-256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each pixel of a grey version of 9 x 8 pixels is brighter than its left neighbour."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), np.uint8)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def image_kind(image: Image.Image) -> str:
    """Whether an image is grey or in colour, and whether it has transparency, as far as its header says."""
    grey = image.mode in GREY_MODES or image.mode.startswith("I")
    alpha = image.mode in ALPHA_MODES or "transparency" in image.info
    return ("grey" if grey else "colour") + (" with alpha" if alpha else "")


def _header_facts(content: bytes, name: str, channels: int, max_pixels: int | None) -> ImageFacts:
    with pixel_limit(max_pixels), image_errors(name), open_image(io.BytesIO(content)) as image:
        kind = image_kind(image) if channels in (1, 3) else f"{channels} channels"
        return ImageFacts(image.width, image.height, kind, image.format or "")
