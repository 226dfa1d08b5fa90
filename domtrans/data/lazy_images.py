"""Images that stay in their files until they are needed, for sets that do not fit into memory."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from domtrans.data.aspect import Aspect
from domtrans.data.batches import evenly
from domtrans.data.decode_worker import MAX_IMAGE_BYTES, NO_COPIES, Copies, DecodeErrors, Location, decode_batch, read_bytes
from domtrans.data.image_files import image_errors, open_image, silence_pillow_warnings
from domtrans.data.pages import HEADER_BYTES, Pages, can_hold_several, describe_unread, find_pages
from domtrans.errors import DomtransError
from domtrans.storage.data_file import DataFile

log = logging.getLogger(__name__)

CPU = torch.device("cpu")

MAX_DAMAGED_SHARE = 0.01
"""Share of damaged images above which reading stops."""

PAGE_SAMPLE = 256
"""Images that are searched for pages. Counting the pages of a file takes about a millisecond."""

FINGERPRINT_IMAGES = 64
"""Images whose encoded bytes are part of the fingerprint, besides the names and sizes of all."""


@dataclass
class Damage:
    """The images of a set that could not be read so far, shared by all subsets of it."""

    total: int = 0
    """Images in the set."""

    errors: dict[Location, str] = field(default_factory=dict)

    def record(self, location: Location, error: str) -> None:
        """Record a damaged image and log it, less often as they add up. Raises DomtransError once there are too many."""
        if location in self.errors:
            return
        self.errors[location] = error
        count = len(self.errors)
        if count > MAX_DAMAGED_SHARE * self.total:
            raise DomtransError(
                f"{count:,} of {self.total:,} images cannot be read so far, more than {100 * MAX_DAMAGED_SHARE:.0f} % of the "
                f"set; the last error: {error}. If no option is wrong, restore these images or remove them"
            )
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...
            log.warning("%s; the next image replaces it (%d of %d so far)", error, count, self.total)


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images in files, decoded when needed. In an ImageSet they replace a tensor uint8 [N, C, size, size].

    One damaged image does not end a long training: the next image replaces it, which is logged, until 1 % are damaged.

    Args:
        root: A folder, as an absolute path or an address.
        files: Paths relative to ``root``.
        spans: int64 [N, 3], the location of each image: the position of its file in ``files``, its first byte, and the number
            of bytes.
        size: Side of the images in pixels. Each is made square and resized.
        channels: C, 1 (grey), 3 (RGB) or another number, whose images are read by ``decode_planes``.
        block: Number of neighbouring images to read together, for a disk that is slow to seek.
        device: Where images go after decoding.
        damage: Images that could not be read, shared by all subsets.
        aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or "squeeze".
        max_pixels: Limit of an image's width times height; 0: none; None: that of the environment, or of Pillow.
        remote: The files that are remote, by address. Their images are downloaded when they are needed.
    """

    root: str
    files: Sequence[str]
    spans: Tensor
    size: int
    channels: int = 3
    block: int = 1
    device: torch.device = CPU
    damage: Damage = field(default_factory=Damage)
    aspect: Aspect = "crop"
    max_pixels: int | None = None
    remote: Mapping[str, DataFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.damage.total = max(self.damage.total, len(self.spans))

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def shape(self) -> torch.Size:
        """[N, C, size, size]"""
        return torch.Size((len(self), self.channels, self.size, self.size))

    dtype = torch.uint8

    def to(self, device: torch.device) -> StoredImages:
        """The same images, on a device once they are decoded."""
        return replace(self, device=device)

    def take(self, index: Tensor) -> StoredImages:
        """The images at ``index``, int64 [n]. Nothing is decoded."""
        return replace(self, spans=self.spans[index.cpu()])

    def read(self, index: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the images at ``index``, int64 [n], in this process.

        Returns:
            uint8 [n, C, size, size] on the device, damaged images replaced as ``replace_damaged`` says.
        """
        pixels, errors = decode_batch(**self.request(index))
        return self.replace_damaged(torch.from_numpy(pixels), index, errors, labels).to(self.device)

    def locations(self, index: Tensor) -> list[Location]:
        """Where the images at ``index``, int64 [n], are."""
        spans = self.spans[index.cpu()].tolist()
        join = "{}/{}".format if self.remote else os.path.join
        return [(join(self.root, self.files[file]), offset, length) for file, offset, length in spans]

    def request(self, index: Tensor) -> dict[str, Any]:
        """The arguments of ``decode_batch`` for the images at ``index``, int64 [n], which are downloaded if they are remote."""
        options = {"size": self.size, "channels": self.channels, "aspect": self.aspect, "max_pixels": self.max_pixels}
        locations = self.locations(index)
        return {"locations": locations, **options} | ({"copies": self.download(locations)} if self.remote else {})

    def download(self, locations: Sequence[Location]) -> Copies:
        """Download the images at these locations, unless they are local or downloaded already.

        Returns:
            The copies of remote files, which ``read_bytes`` takes.

        Raises:
            DomtransError: If a file cannot be downloaded, or has changed.
        """
        if not self.remote:
            return NO_COPIES
        ranges: dict[str, list[tuple[int, int]]] = {}
        for file, offset, length in locations:
            ranges.setdefault(file, []).append((offset, length if length <= MAX_IMAGE_BYTES else 0))
        return {file: str(self.remote[file].fetch(parts)) for file, parts in ranges.items()}

    def replace_damaged(self, pixels: Tensor, index: Tensor, errors: DecodeErrors, labels: Tensor | None = None) -> Tensor:
        """Replace every damaged image of a batch, in place, by the next readable one, so that ``index`` alone decides.

        Args:
            pixels: uint8 [n, C, size, size], the decoded batch.
            index: int64 [n], the images of the batch.
            errors: Positions in the batch, and why these images cannot be read.
            labels: int64 [N]. If given, the replacement has the same label.

        Raises:
            DomtransError: If too many images of the set are damaged.
        """
        for position, error in errors:
            self.damage.record(self.locations(index[position : position + 1])[0], error)
            pixels[position] = self._next_readable(int(index[position]), labels)
        return pixels

    def fingerprint(self) -> str:
        """SHA-256 over names, sizes and a sample of the images, 16 hex digits. A copy of the files has the same fingerprint."""
        digest = hashlib.sha256(repr(tuple(self.shape)).encode())
        if self.aspect != "crop":
            digest.update(self.aspect.encode())
        digest.update("\0".join(self.files).encode(errors="surrogateescape"))
        digest.update(self.spans.numpy().tobytes())
        sample = self.locations(evenly(len(self), FINGERPRINT_IMAGES))
        copies = self.download(sample)
        for location in sample:
            with suppress(DomtransError):
                digest.update(read_bytes(location, copies))
        return digest.hexdigest()[:16]

    def page_notes(self) -> list[str]:
        """Notes about files of which only the first page or frame is read. Of many images, a sample is read."""
        if self.channels not in (1, 3):
            return []  # each page is a channel
        sample = self.locations(evenly(len(self), FINGERPRINT_IMAGES if self.remote else PAGE_SAMPLE))
        copies = self.download(sample)
        with silence_pillow_warnings():
            notes = describe_unread([_pages_at(location, copies) for location in sample], "is read", advise=True)
        return [
            f"{note} (in a sample of {len(sample):,} of {len(self):,} images)" if len(sample) < len(self) else note
            for note in notes
        ]

    def _next_readable(self, damaged: int, labels: Tensor | None) -> Tensor:
        candidates = (torch.arange(1, len(self)) + damaged) % len(self)
        if labels is not None:
            candidates = candidates[(labels[candidates.to(labels.device)] == labels[damaged]).cpu()]
        for candidate in candidates:
            pixels, errors = decode_batch(**self.request(candidate[None]))
            if not errors:
                return torch.from_numpy(pixels[0])
            self.damage.record(self.locations(candidate[None])[0], errors[0][1])
        raise DomtransError(f"none of the {len(self):,} images in {self.root} can replace a damaged one")


def _pages_at(location: Location, copies: Copies) -> Pages | None:
    """The pages or frames of a file; None if it holds one image, or cannot be read."""
    file, offset, length = location
    with suppress(DomtransError):
        if can_hold_several(read_bytes((file, offset, min(HEADER_BYTES, length)), copies)):
            with image_errors(file), open_image(io.BytesIO(read_bytes(location, copies))) as image:
                return find_pages(image)
    return None
