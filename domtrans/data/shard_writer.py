"""Writes rendered sets as tar shards in the WebDataset layout. A shard is complete or missing, never partial.

For every image, a shard holds ``00000042.png`` and ``00000042.json``, ``{"attributes": {"hair_colour": "brown", ...}}``, with
"parameters" beside "attributes" if an engine drew the image.
``vocabulary.json`` beside the shards lists the values of every attribute; ``make.json`` records how the set was made.
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
from domtrans.data.rendered import RenderedSet, Span, split_into_spans
from domtrans.errors import DomtransError
from domtrans.storage.address import check_local
from domtrans.storage.atomic import UNFINISHED_PREFIX, write_bytes, write_json

SETTINGS_FILE = "make.json"


@dataclass(frozen=True)
class ProcessShare:
    """The shards that this process writes: every ``size``-th, from number ``rank`` on."""

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not self.rank < self.size:
            raise DomtransError(f"RANK={self.rank} must be less than WORLD_SIZE={self.size}")


@dataclass(frozen=True)
class Shards:
    """A folder of shards of a rendered set, complete or in progress."""

    rendered: RenderedSet
    folder: Path
    length: int
    """Images per shard."""

    def prepare(self, settings: Mapping[str, Any]) -> None:
        """Make the folder and record the settings. Raises DomtransError if it holds other files or other settings."""
        check_local(self.folder, "a folder of shards")
        settings = dict(settings) | {"count": self.rendered.count, "shard": self.length}
        settings |= json.loads(json.dumps(self.rendered.key))
        if self.folder.is_file():
            raise DomtransError(f"{self.folder} is a file, not a folder; choose another folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            names = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith(UNFINISHED_PREFIX))
        except OSError as error:
            raise DomtransError(f"{self.folder} cannot be written: {error.strerror}") from None
        if SETTINGS_FILE in names:
            self._compare(settings)
        elif names:
            raise DomtransError(f"{self.folder} holds other files, such as {names[0]}; choose another folder or an empty one")
        write_json(self.folder / SETTINGS_FILE, settings)  # first: it marks the folder as ours if we are stopped here
        vocabulary = {name: list(values) for name, values in self.rendered.vocabulary.items()}
        write_json(self.folder / "vocabulary.json", vocabulary)

    def missing(self, share: ProcessShare = ProcessShare()) -> dict[Path, Span]:
        """The shards of a share that do not exist yet, and the numbers of their images."""
        starts = range(0, self.rendered.count, self.length)
        shards = {
            self.folder / f"shard-{number:06d}.tar": (start, min(start + self.length, self.rendered.count))
            for number, start in enumerate(starts)
            if number % share.size == share.rank
        }
        return {path: span for path, span in shards.items() if not path.exists()}

    def write(self, missing: Mapping[Path, Span], workers: int, report: Callable[[int], None]) -> None:
        """Render and write shards, one after the other. A shard gets its name when it is complete on disk.

        Args:
            missing: The shards to write.
            workers: Processes that render.
            report: Called with the number of images rendered so far; it may raise, to stop.

        Raises:
            DomtransError: If a shard cannot be written.
        """
        # One stream of blocks over all shards, so that the workers continue while a shard is written.
        spans = (span for start, end in missing.values() for span in split_into_spans(start, end))
        done = 0
        report(done)
        with closing(self.rendered.blocks(spans, files=True, workers=workers)) as blocks:
            for path, shard in missing.items():
                parts: list[bytes] = []
                for start, end in split_into_spans(*shard):
                    parts += tar_members(start, next(blocks))
                    done += end - start
                    report(done)
                write_bytes(path, b"".join([*parts, bytes(2 * tarfile.BLOCKSIZE)]))

    def _compare(self, settings: Mapping[str, Any]) -> None:
        file = self.folder / SETTINGS_FILE
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        except (OSError, ValueError, TypeError) as error:
            raise DomtransError(f"{file} cannot be read ({error}); choose another folder") from None
        if changed:
            changes = (f"{name}={json.dumps(before.get(name))}, not {json.dumps(settings.get(name))}" for name in changed)
            raise DomtransError(
                f"{self.folder} holds images made with {'; '.join(changes)}; use the same settings to continue, or choose "
                "another folder"
            )


def tar_members(first: int, block: Block) -> Iterator[bytes]:
    """The files of a block as they stand in a tar archive. The bytes depend on the block alone: no times, no users."""
    labels = [{"attributes": attributes} for attributes in block.attributes]
    for label, parameters in zip(labels, block.parameters, strict=False):  # none of a set without an engine
        label["parameters"] = parameters
    for number, image, label in zip(itertools.count(first), block.images, labels, strict=False):
        yield from tar_member(f"{number:08d}.png", image)
        yield from tar_member(f"{number:08d}.json", json.dumps(label).encode())


def tar_member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, content, padding."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % tarfile.BLOCKSIZE)
