"""Scans WebDataset tar shards: the location of every image, and its labels.

Nothing is ever extracted. A member's name is only the key that joins an image with its labels.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from domtrans import Cache, DataFile, DomtransError, image_suffixes, is_remote, natural_key, reason_of
from domtrans_files.label_files import is_negative

CLASS_LABEL = "class"
"""The name of the class among the labels of an image."""

CACHE_LAYOUT = 4
"""Version of the tensors in the cache. A new number makes all shards be scanned again."""

SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin"})
"""Folders in archives that operating systems create, in lower case."""

MAX_FOLDERS = 100
"""Folders of images that are remembered, for a note."""

MAX_LABEL_BYTES = 2**20
"""Size limit of a tar header and of the labels of an image; real ones have some hundred bytes."""


@dataclass(frozen=True, eq=False)
class Shard:
    """The images of a shard and their labels."""

    spans: Tensor
    """int64 [n, 2], the first byte and the number of bytes of every image."""

    labels: Mapping[str, Tensor]
    """By name: int64 [n], indices into ``values``; -1 if an image does not have the label."""

    values: Mapping[str, list[str]]
    """By name: the values that occur."""

    skipped: Mapping[str, tuple[int, str]]
    """Members that are not read, by reason: their number, and the name of the first."""

    folders: frozenset[str]
    """The folders that the images are in; empty if some are in none."""


def read_shard(file: DataFile, cache: Cache) -> Shard:
    """Scan a shard, or take the result from the cache. Raises DomtransError if it is damaged or compressed."""
    try:
        where = file.address if is_remote(file.address) else os.path.abspath(file.address)  # noqa: PTH100 - does not follow links
        key = {"shard": where, "bytes": file.size, **file.version, "layout": CACHE_LAYOUT, "suffixes": sorted(image_suffixes())}
        tensors = cache.tensors("shards", key, lambda: _scan(file))
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, LookupError, RecursionError) as error:  # damaged headers
        raise DomtransError(
            f"{file.address} cannot be read as an uncompressed tar file: {reason_of(error)}; it is cut "
            "short, compressed or another kind of file"
        ) from None
    values, skipped, folders = json.loads(tensors["values"].numpy().tobytes())
    named = {reason: (count, first) for reason, (count, first) in skipped.items()}
    labels = {name: tensors[f"label.{name}"] for name in values}
    return Shard(tensors["spans"], labels, values, named, frozenset(folders))


def _scan(shard: DataFile) -> dict[str, Tensor]:
    """The content of a shard, as tensors for the cache."""
    suffixes = image_suffixes()
    spans: dict[str, tuple[int, int]] = {}
    endings: dict[str, str] = {}
    labels: dict[str, dict[str, str]] = {}
    skipped: dict[str, tuple[int, str]] = {}

    def skip(reason: str, name: str) -> None:
        count, first = skipped.get(reason, (0, name))
        skipped[reason] = count + 1, first

    for name, member, tar in _members(shard):
        key, suffix = os.path.splitext(name)  # noqa: PTH122 - of a name with "/" on every system
        kind = suffix.lower()
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            skip("link or device", name)
        elif kind in suffixes:
            if key in spans:
                raise DomtransError(f"{shard.address} has two images with the key {key}")
            spans[key], endings[key] = (member.offset_data, member.size), kind
        elif kind in (".json", ".cls"):
            if member.size > MAX_LABEL_BYTES:
                limit = f"(limit {MAX_LABEL_BYTES:,})"
                raise DomtransError(f"{shard.address}: {member.name} has {member.size:,} bytes, too many for labels {limit}")
            file = tar.extractfile(member)
            assert file is not None  # it is a regular file
            known, new = labels.get(key, {}), _read_labels(file.read(), kind, f"{shard.address}: {member.name}")
            labels[key] = new | known if kind == ".cls" else known | new  # a .json may name the class that a .cls numbers
        else:
            skip(f"not an image ({kind or 'no suffix'})", name)
    for key in [key for key in spans if key != _sample(key) in spans and key not in labels]:
        skip(f"further image of a sample ({key.removeprefix(_sample(key))}{endings[key]})", key + endings[key])
        del spans[key]
    unused = set(labels) - set(spans) - set(map(_sample, spans))
    for key in (key for key in labels if key in unused):
        skip("labels without an image", key)
    return _to_tensors(spans, [labels.get(_sample(key), {}) | labels.get(key, {}) for key in spans], skipped)


def _sample(key: str) -> str:
    """The WebDataset key of a member: its name up to the first dot after the last slash."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _to_tensors(
    spans: Mapping[str, tuple[int, int]], labels: Sequence[Mapping[str, str]], skipped: Mapping[str, tuple[int, str]]
) -> dict[str, Tensor]:
    """Spans, labels and skipped members as tensors."""
    names = sorted({name for known in labels for name in known})
    places = {key.rpartition("/")[0] for key in spans}
    folders = sorted(places, key=natural_key)[:MAX_FOLDERS] if "" not in places else []
    columns = {name: [known.get(name) for known in labels] for name in names}
    values = {name: sorted({value for value in column if value is not None}) for name, column in columns.items()}
    indices = {}
    for name, column in columns.items():
        position = {value: i for i, value in enumerate(values[name])}
        indices[f"label.{name}"] = torch.tensor(
            [-1 if value is None else position[value] for value in column], dtype=torch.int64
        )
    return {
        "spans": torch.tensor(list(spans.values()), dtype=torch.int64).reshape(-1, 2),
        "values": torch.frombuffer(bytearray(json.dumps([values, skipped, folders]).encode()), dtype=torch.uint8),
        **indices,
    }


class _BoundedFile:
    """A file for tarfile to read. It refuses the reads of gigabytes, or of negative sizes, that damaged headers cause."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_LABEL_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._read(size) or b""


def _members(shard: DataFile) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Name and header of every member, without folders, hidden files and those of the operating system."""
    with shard.open() as opened:
        start: int | None = 0
        while start is not None:
            opened.seek(start)
            with tarfile.open(fileobj=cast(BinaryIO, _BoundedFile(opened)), mode="r:") as tar:
                yield from _members_of_archive(tar, shard.size)
                end = tar.offset
            opened.seek(end)
            if opened.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile stops at a damaged header without an error
                raise tarfile.ReadError(f"damaged at byte {end:,}")
            start = _next_archive(opened)


def _members_of_archive(tar: tarfile.TarFile, size: int) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """The members up to the zeros that end an archive; ``size`` is that of the file."""
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
        if not 0 <= member.size <= size - member.offset_data:
            raise tarfile.ReadError(f"{member.name} runs beyond the end")
        *folders, last = member.name.split("/")
        system = last.startswith(".") or not SYSTEM_FOLDERS.isdisjoint(map(str.lower, folders))
        if last and not system and member.type != tarfile.DIRTYPE:
            yield member.name, member, tar


def _next_archive(opened: BinaryIO) -> int | None:
    """Where the next archive begins after the zeros that end one, as in files that were joined; None at the end of the file."""
    while block := opened.read(tarfile.RECORDSIZE):
        if content := block.lstrip(b"\0"):
            first = opened.tell() - len(content)
            return first - first % tarfile.BLOCKSIZE
    return None


def _read_labels(content: bytes, kind: str, where: str) -> dict[str, str]:
    """The labels in a ``.cls`` or ``.json`` member, by name; the class has the name "class"."""
    try:
        if kind == ".cls":
            labels = {CLASS_LABEL: content.decode().strip()}
        else:
            document = json.loads(content)
            labels = {CLASS_LABEL: document.get(CLASS_LABEL, document.get("label"))}
            labels |= document.get("attributes") or {}
        texts = {name: _label_value(value) for name, value in labels.items() if value is not None}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise DomtransError(
            f'{where} must be of the form {{"class": "cat", "attributes": {{"hair_colour": "brown"}}}}'
        ) from None
    named = {name: text for name, text in texts.items() if text}  # as an empty cell in a label file
    if is_negative(named.get(CLASS_LABEL, "")):
        raise DomtransError(f"{where} has the class {named[CLASS_LABEL]}; give it another name, or none")
    return named


def _label_value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return str(value).strip()
