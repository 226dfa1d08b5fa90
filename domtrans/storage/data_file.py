"""A file with data, here or at an address. What is read of a remote file stays in the cache, so that it is downloaded once.

fsspec's own caches do not serve here: for http they do not notice that a file has changed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from filelock import FileLock

from domtrans.errors import DomtransError
from domtrans.storage.address import is_remote, name_of_address
from domtrans.storage.paths import cache_folder, expand_home
from domtrans.storage.requests import NoFileError, file_facts, read_range

BLOCK_BYTES = 2**22
"""A remote file is downloaded in blocks of this size."""

MAX_REQUEST_BYTES = 2**25
"""Neighbouring blocks are downloaded together up to this size."""

Ranges = Iterable[tuple[int, int]]
"""First byte and number of bytes of each part of a file."""


@dataclass(frozen=True)
class DataFile:
    """A local file.

    Attributes:
        address: The path.
        size: Bytes.
        version: What changes if the file changes, as JSON can hold it.
    """

    address: str
    size: int
    version: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return Path(self.address).name

    def fetch(self, ranges: Ranges | None = None) -> Path:
        """Make parts of the file, or all of it, available in a local file at the same positions. Returns that file."""
        return Path(self.address)

    def open(self) -> BinaryIO:
        """Open it for reading, unbuffered and seekable."""
        return self.fetch(()).open("rb", buffering=0)


@dataclass(frozen=True)
class RemoteFile(DataFile):
    """A remote file, with a local copy that has the parts that were read so far.

    Attributes:
        folder: Where the copy is.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The name of the file, without its folder and its query."""
        return name_of_address(self.address)

    @property
    def copy(self) -> Path:
        """The local copy. Parts that were not read are zeros."""
        return self.folder / re.sub(r"[^\w.-]", "_", self.name)[-100:]

    def fetch(self, ranges: Ranges | None = None) -> Path:
        """Download what the copy lacks.

        Args:
            ranges: The parts that are needed; None: all.

        Returns:
            The copy.

        Raises:
            DomtransError: If the file is missing, has changed, or cannot be downloaded.
        """
        wanted = self._blocks([(0, self.size)] if ranges is None else ranges)
        try:
            if self._missing(wanted):
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self.copy.with_name(f".{self.copy.name}.lock")):  # one process downloads, the others wait
                    self._download(self._missing(wanted))
        except OSError as error:
            raise DomtransError(f"{self.address} cannot be copied to {self.folder}: {error.strerror or error}") from None
        return self.copy

    def open(self) -> BinaryIO:
        """Open it for reading. Parts are downloaded when they are read."""
        return cast(BinaryIO, _Reader(self))

    @property
    def _marks(self) -> Path:
        """A byte for every block: 1 if the copy has it."""
        return self.copy.with_name(f".{self.copy.name}.blocks")

    def _blocks(self, ranges: Ranges) -> set[int]:
        """The blocks that hold parts of the file. An empty file has one empty block."""
        ends = [(first, min(first + count, self.size)) for first, count in ranges]
        blocks = (range(first // BLOCK_BYTES, -(-end // BLOCK_BYTES)) for first, end in ends if first < end)
        return {block for span in blocks for block in span} or ({0} if not self.size else set())

    def _missing(self, wanted: Iterable[int]) -> list[int]:
        try:
            marks = self._marks.read_bytes() if self.copy.stat().st_size == self.size else b""
        except FileNotFoundError:
            marks = b""
        return sorted(block for block in wanted if marks[block : block + 1] != b"\1")

    def _download(self, blocks: Sequence[int]) -> None:
        if blocks and (not self.copy.is_file() or self.copy.stat().st_size != self.size):
            self._marks.unlink(missing_ok=True)
            with self.copy.open("wb") as file:
                file.truncate(self.size)
        for first, last in _neighbours(blocks):
            start, end = first * BLOCK_BYTES, min((last + 1) * BLOCK_BYTES, self.size)
            content = read_range(self.address, start, end) if end else b""
            if len(content) == self.size != end - start:  # the server sends whole files only
                self._store(0, content, 0, -(-self.size // BLOCK_BYTES) - 1)
                return
            if len(content) != end - start:
                raise DomtransError(f"{self.address} sent {len(content):,} bytes instead of {end - start:,}; start again")
            self._store(start, content, first, last)

    def _store(self, start: int, content: bytes, first: int, last: int) -> None:
        """Write downloaded bytes, and mark their blocks unless the remote file has changed since it was opened."""
        with self.copy.open("r+b") as file:
            file.seek(start)
            file.write(content)
        if file_facts(self.address) != (self.size, self.version):
            raise DomtransError(f"{self.address} has changed since it was opened; start again to read it as it is now")
        with self._marks.open("r+b" if self._marks.is_file() else "w+b") as file:
            file.seek(first)
            file.write(b"\1" * (last + 1 - first))


def data_file(path: str) -> DataFile:
    """The file at a local path or an address.

    Args:
        path: The path; it may begin with ``~``.

    Raises:
        DomtransError: If there is no such file, or it cannot be reached.
    """
    if is_remote(path):
        size, version = file_facts(path)
        return RemoteFile(path, size, version, copies_folder([path, size, version]))
    file = Path(expand_home(path))
    try:
        status = file.stat()
    except OSError:
        raise NoFileError(f"there is no file {file}") from None
    return DataFile(str(file), status.st_size, {"modified": status.st_mtime_ns})


def find_file(path: str) -> DataFile | None:
    """``data_file``, or None if there is no such file or it may not be read."""
    try:
        return data_file(path)
    except NoFileError:
        return None


def copies_folder(key: Any) -> Path:
    """The folder of the cache for copies of remote files; ``key`` identifies the files and their versions."""
    return cache_folder() / "remote" / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


def _neighbours(blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of neighbouring blocks, of at most ``MAX_REQUEST_BYTES``."""
    start = 0
    for k in range(1, len(blocks) + 1):
        is_next = k < len(blocks) and blocks[k] == blocks[k - 1] + 1
        if not is_next or (k - start) * BLOCK_BYTES >= MAX_REQUEST_BYTES:
            yield blocks[start], blocks[k - 1]
            start = k


class _Reader(io.RawIOBase):
    """A remote file that is downloaded as it is read."""

    def __init__(self, file: RemoteFile) -> None:
        self.file, self.position = file, 0
        self._here: set[int] = set()
        """Blocks that the copy has."""

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position."""
        self.position = offset + (0, self.position, self.file.size)[whence]
        return self.position

    def tell(self) -> int:
        """The position."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on."""
        wanted = self.file._blocks([(self.position, len(buffer))])
        if not wanted <= self._here:
            self.file.fetch([(self.position, len(buffer))])
            self._here |= wanted
        with self.file.copy.open("rb", buffering=0) as copy:
            copy.seek(self.position)
            count = copy.readinto(buffer) or 0
        self.position += count
        return count
