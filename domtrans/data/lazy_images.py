"""Images that stay in their files until they are looked at, for sets that memory does not hold."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from domtrans.data.batches import evenly
from domtrans.data.decode_worker import Faults, Place, decode_all, decode_one, read_bytes
from domtrans.errors import DomtransError

log = logging.getLogger(__name__)

CPU = torch.device("cpu")

BEARABLE = 0.01
"""Share of pictures that may be damaged before work on a set stops."""

SAMPLED = 64
"""Pictures whose encoded bytes make up the fingerprint, beside the names and sizes of all."""


@dataclass
class Damage:
    """The pictures of a set of ``total`` that could not be read so far, and why; what is taken from the set shares it."""

    total: int = 0
    found: dict[Place, str] = field(default_factory=dict)

    def note(self, place: Place, fault: str) -> None:
        """Remember a damaged picture and say so, ever more seldom. Raises DomtransError once there are too many."""
        if place in self.found:
            return
        self.found[place] = fault
        count = len(self.found)
        if count > BEARABLE * self.total:
            raise DomtransError(
                f"{count:,} of {self.total:,} pictures cannot be read, more than {BEARABLE:.0%} of the set, the last because "
                f"{fault}; restore them, or take them out"
            )
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...
            log.warning("%s; the next picture takes its place (%d of %d so far)", fault, count, self.total)


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images in files, decoded as they are asked for; in an ImageSet they stand for a tensor uint8 [N, C, size, size].

    ``root``: a folder, absolute. ``files``: paths below it. ``spans``: int64 [N, 3], where each image is: in which file, its
    first byte there, and how many bytes. ``size``: side in pixels, of the centre square. ``channels``: C, 1 (grey) or 3 (RGB).
    ``block``: images that lie next to each other and are best read together, because the disk is slow to seek.
    ``device``: where images are handed out. ``damage``: what could not be read of the whole set, shared by all parts of it.

    A damaged picture does not end a week of training: the next one takes its place, which is logged, until 1 % are damaged.
    """

    root: str
    files: Sequence[str]
    spans: Tensor
    size: int
    channels: int = 3
    block: int = 1
    device: torch.device = CPU
    damage: Damage = field(default_factory=Damage)

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
        """The same images, handed out on a device."""
        return replace(self, device=device)

    def take(self, index: Tensor) -> StoredImages:
        """The images at ``index``, int64 [n]; none is decoded."""
        return replace(self, spans=self.spans[index.cpu()])

    def read(self, index: Tensor, like: Tensor | None = None) -> Tensor:
        """The images at ``index``, int64 [n], decoded in this process: uint8 [n, C, size, size]. ``like``: see ``mend``."""
        pixels, faults = decode_all(self.places(index), self.size, self.channels)
        return self.mend(torch.from_numpy(pixels), index, faults, like).to(self.device)

    def places(self, index: Tensor) -> list[Place]:
        """Where the images at ``index`` are."""
        spans = self.spans[index.cpu()].tolist()
        return [(os.path.join(self.root, self.files[file]), offset, length) for file, offset, length in spans]  # noqa: PTH118

    def mend(self, pixels: Tensor, index: Tensor, faults: Faults, like: Tensor | None = None) -> Tensor:
        """Put the next picture that can be read in the place of every damaged one, so that ``index`` alone decides.

        ``like``: int64 [N], labels; the next picture of the same label then. Raises DomtransError for too many faults.
        """
        for position, fault in faults:
            self.damage.note(self.places(index[position : position + 1])[0], fault)
            pixels[position] = self._next(int(index[position]), like)
        return pixels

    def fingerprint(self) -> str:
        """SHA-256 over names, sizes and a sample of the pictures, 16 hex digits: the same wherever the set is copied to."""
        digest = hashlib.sha256(repr(tuple(self.shape)).encode())
        digest.update("\0".join(self.files).encode(errors="surrogateescape"))
        digest.update(self.spans.numpy().tobytes())
        for place in self.places(evenly(len(self), SAMPLED)):
            with suppress(DomtransError):
                digest.update(read_bytes(place))
        return digest.hexdigest()[:16]

    def _next(self, damaged: int, like: Tensor | None) -> Tensor:
        following = (torch.arange(1, len(self)) + damaged) % len(self)
        if like is not None:
            following = following[(like[following.to(like.device)] == like[damaged]).cpu()]
        for other in following:
            place = self.places(other[None])[0]
            try:
                return torch.from_numpy(decode_one(place, self.size, self.channels))
            except DomtransError as fault:
                self.damage.note(place, str(fault))
        raise DomtransError(f"none of the {len(self):,} pictures in {self.root} can take the place of a damaged one")
