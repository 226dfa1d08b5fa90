"""Drawn sets as files: tar shards in the layout of WebDataset, written so that nothing is half there.

A shard holds ``00000042.png`` and ``00000042.json``, ``{"attributes": {"hair_colour": "brown", ...}}``, for every picture.
Beside the shards, ``vocabulary.json`` has the values of every attribute, and ``make.json`` says what was asked for.
"""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans.data.render_worker import Block
from domtrans.data.rendered import DrawnSet, Span, spans_of
from domtrans.errors import DomtransError
from domtrans.storage.atomic import BESIDE, write_bytes, write_json

MADE = "make.json"


@dataclass(frozen=True)
class Share:
    """Which shards are this process's to write: every ``size``-th, from number ``rank`` on."""

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not self.rank < self.size:
            raise DomtransError(f"this is process {self.rank} of {self.size} (RANK and WORLD_SIZE): it must be one of them")


@dataclass(frozen=True)
class Shards:
    """A folder of shards of a drawn set, whole or on the way there. ``length``: pictures in a shard."""

    drawn: DrawnSet
    folder: Path
    length: int

    def prepare(self, asked: Mapping[str, Any]) -> None:
        """Make the folder, and note what was asked for; raises DomtransError if it holds anything else."""
        asked = dict(asked) | {"count": self.drawn.count, "shard": self.length} | json.loads(json.dumps(self.drawn.key))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            there = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith(BESIDE))
        except OSError as error:
            raise DomtransError(f"{self.folder} cannot be written: {error.strerror}") from None
        if MADE in there:
            self._compare(asked)
        elif there:
            raise DomtransError(f"{self.folder} holds other files, such as {there[0]}; choose another folder or an empty one")
        write_json(self.folder / MADE, asked)  # first: whatever else is there, this folder is then known as ours
        write_json(self.folder / "vocabulary.json", {name: list(values) for name, values in self.drawn.vocabulary.items()})

    def missing(self, share: Share = Share()) -> dict[Path, Span]:
        """The shards of a share that are not there yet, and the numbers of their pictures."""
        firsts = range(0, self.drawn.count, self.length)
        shards = {
            self.folder / f"shard-{number:06d}.tar": (first, min(first + self.length, self.drawn.count))
            for number, first in enumerate(firsts)
            if number % share.size == share.rank
        }
        return {path: span for path, span in shards.items() if not path.exists()}

    def write(self, missing: Mapping[Path, Span], workers: int, report: Callable[[int], None]) -> None:
        """Draw and write shards, one after the other; ``report`` hears how many pictures were drawn, and may raise.

        A shard appears under its name when all of it is on the disk. Raises DomtransError if it cannot be written.
        """
        # One stream of blocks over all shards: no worker waits while a shard is written.
        spans = (span for first, last in missing.values() for span in spans_of(first, last))
        done = 0
        report(done)
        with closing(self.drawn.blocks(spans, files=True, workers=workers)) as blocks:
            for path, (first, last) in missing.items():
                parts: list[bytes] = []
                for at, end in spans_of(first, last):
                    parts += members(at, next(blocks))
                    done += end - at
                    report(done)
                write_bytes(path, b"".join([*parts, bytes(2 * tarfile.BLOCKSIZE)]))

    def _compare(self, asked: Mapping[str, Any]) -> None:
        try:
            found = json.loads((self.folder / MADE).read_text(encoding="utf-8"))
            names = [name for name in {**found, **asked} if found.get(name) != asked.get(name)]
        except (OSError, ValueError, TypeError) as error:
            raise DomtransError(f"{self.folder / MADE} cannot be read ({error}); choose another folder") from None
        if names:
            what = "; ".join(f"{name}={json.dumps(found.get(name))}, not {json.dumps(asked.get(name))}" for name in names)
            raise DomtransError(
                f"{self.folder} holds pictures that were made with {what}; ask for the same to go on, or choose another folder"
            )


def members(first: int, block: Block) -> Iterator[bytes]:
    """The block's files as a tar archive holds them; the same bytes whenever and by whomever they are made."""
    for index, picture, shown in zip(itertools.count(first), block.pictures, block.attributes, strict=False):
        yield from member(f"{index:08d}.png", picture)
        yield from member(f"{index:08d}.json", json.dumps({"attributes": shown}).encode())


def member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, content, padding."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % tarfile.BLOCKSIZE)
