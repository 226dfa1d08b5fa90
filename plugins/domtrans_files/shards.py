"""Finds and scans WebDataset tar shards: the location of every image, and its labels.

Nothing is ever extracted. A member's name is only the key that joins an image with its labels.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from braceexpand import braceexpand
from torch import Tensor

from domtrans import Cache, DomtransError, image_suffixes, list_names, natural_key
from domtrans_files.layout import ROLES

BRACE_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
"""The first and the last number of a range in braces."""

CLASS_LABEL = "class"
"""The name of the class among the labels of an image."""

CACHE_LAYOUT = 2
"""Version of the tensors in the cache. A new number makes all shards be scanned again."""

MAX_SHARDS = 100_000

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin"})
"""Folders in archives that operating systems create, in lower case."""

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


def find_shards(pattern: str) -> list[Path]:
    """The shards of a pattern like ``train-{000..099}.tar``, or of a folder. Raises DomtransError if one is missing."""
    pattern = os.path.expanduser(pattern)  # noqa: PTH111 - Path would change an address
    if Path(pattern).is_dir():
        paths = sorted(Path(pattern).glob("*.tar"), key=lambda path: natural_key(path.name))
    else:
        ends = [sorted(map(int, pair)) for pair in BRACE_RANGE.findall(pattern)]
        if any(last - first >= MAX_SHARDS for first, last in ends):  # braceexpand would make a list of all
            raise DomtransError(f"{pattern} means more than {MAX_SHARDS:,} shards; check its braces")
        try:
            paths = [Path(name) for name in islice(braceexpand(pattern), MAX_SHARDS + 1)]
        except ValueError as error:
            raise DomtransError(f"{pattern} cannot be expanded: {error}; write e.g. train-{{000..099}}.tar") from None
    if len(paths) > MAX_SHARDS:
        raise DomtransError(f"{pattern} means more than {MAX_SHARDS:,} shards; check its braces")
    missing = [path for path in paths if not path.is_file()]
    if not paths or missing:
        problem = f"there is no file {missing[0]}" if missing else f"there are no .tar files in {pattern}"
        raise DomtransError(f"{problem}; give local files, e.g. data/train-{{000..099}}.tar, or a folder of shards")
    return paths


def find_split_shards(pattern: str) -> tuple[list[Path], list[Path] | None, list[str]]:
    """The shards of the training split, those of the test split, and notes about files that are not read.

    In a folder, shards such as ``train-000.tar`` and ``test-000.tar``, or subfolders train and test, are the splits; val is
    the test split if there is no test. Without splits, all shards are returned first and None second.

    Raises:
        DomtransError: If a shard is missing, or the splits of the shards are unclear.
    """
    folder = Path(pattern).expanduser()
    if not folder.is_dir():
        return find_shards(pattern), None, []
    entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    packed = [path.name for path in entries if path.name.lower().endswith(PACKED_SUFFIXES)]
    notes = [f"compressed shards that are not read, unpack them: {list_names(packed)}"] if packed else []
    shards = {path: _role(path.stem) for path in entries if path.suffix == ".tar"}
    if not shards:
        inside = {role: path for path in entries if path.is_dir() and (role := ROLES.get(path.name.lower()))}
        shards = {shard: role for role, path in inside.items() if any(path.glob("*.tar")) for shard in find_shards(str(path))}
    roles = set(shards.values())
    if "train" not in roles or len(roles) == 1:
        return (list(shards) or find_shards(pattern)), None, notes
    if None in roles:
        other = [path.name for path, role in shards.items() if role is None]
        raise DomtransError(
            f"{folder} has shards of splits and others ({list_names(other)}); choose with path and "
            f"test_path, e.g. path={folder}/train-{{000..099}}.tar"
        )
    test = "test" if "test" in roles else "val"
    if len(roles) > 2:
        notes.append(f"{sum(role == 'val' for role in shards.values()):,} shards of the validation split are not read")
    by_role = {name: [path for path, role in shards.items() if role == name] for name in ("train", test)}
    return by_role["train"], by_role[test], notes


def _role(stem: str) -> str | None:
    """The split in a shard's name, such as "train-000" or "cats_test_01"."""
    return next((ROLES[word] for word in re.split("[^a-z]+", stem.lower()) if word in ROLES), None)


def read_shard(path: Path, cache: Cache) -> Shard:
    """Scan a shard, or take the result from the cache. Raises DomtransError if it is damaged or compressed."""
    try:
        status = path.stat()
        key = {"shard": str(path.absolute()), "bytes": status.st_size, "modified": status.st_mtime_ns, "layout": CACHE_LAYOUT}
        key["suffixes"] = sorted(image_suffixes())
        tensors = cache.tensors("shards", key, lambda: _scan(path))
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, LookupError, RecursionError) as error:  # damaged headers
        raise DomtransError(
            f"{path} cannot be read as an uncompressed tar file: {' '.join(str(error).split())[:160]}; it is cut short, "
            "compressed or another kind of file"
        ) from None
    values, skipped = json.loads(tensors["values"].numpy().tobytes())
    named = {reason: (count, first) for reason, (count, first) in skipped.items()}
    return Shard(tensors["spans"], {name: tensors[f"label.{name}"] for name in values}, values, named)


def read_vocabulary(folder: Path) -> dict[str, list[str]]:
    """The values of each label, in order, from ``vocabulary.json``; empty if there is no such file."""
    file = folder / "vocabulary.json"
    try:
        with file.open("rb") as opened:
            vocabulary = json.loads(opened.read(MAX_LABEL_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DomtransError(f"{file} cannot be read: {' '.join(str(error).split())[:160]}") from None
    valid = isinstance(vocabulary, dict) and all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in vocabulary.values()
    )
    if not valid:
        raise DomtransError(f'{file} must be of the form {{"hair_colour": ["black", "brown"]}}')
    return vocabulary


def _scan(path: Path) -> dict[str, Tensor]:
    """The content of a shard, as tensors for the cache."""
    suffixes = image_suffixes()
    spans: dict[str, tuple[int, int]] = {}
    endings: dict[str, str] = {}
    labels: dict[str, dict[str, str]] = {}
    skipped: dict[str, tuple[int, str]] = {}

    def skip(reason: str, name: str) -> None:
        count, first = skipped.get(reason, (0, name))
        skipped[reason] = count + 1, first

    for name, member, tar in _members(path):
        key, suffix = os.path.splitext(name)  # noqa: PTH122 - of a name with "/" on every system
        kind = suffix.lower()
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            skip("link or device", name)
        elif kind in suffixes:
            if key in spans:
                raise DomtransError(f"{path} has two images with the key {key}")
            spans[key], endings[key] = (member.offset_data, member.size), kind
        elif kind in (".json", ".cls"):
            if member.size > MAX_LABEL_BYTES:
                limit = f"(limit {MAX_LABEL_BYTES:,})"
                raise DomtransError(f"{path}: {member.name} has {member.size:,} bytes, too many for labels {limit}")
            file = tar.extractfile(member)
            assert file is not None  # it is a regular file
            known, new = labels.get(key, {}), _read_labels(file.read(), kind, f"{path}: {member.name}")
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
        "values": torch.frombuffer(bytearray(json.dumps([values, skipped]).encode()), dtype=torch.uint8),
        **indices,
    }


class _BoundedFile(io.FileIO):
    """A file for tarfile to read. It refuses the reads of gigabytes, or of negative sizes, that damaged headers cause."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_LABEL_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""


def _members(path: Path) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Name and header of every member, without folders, hidden files and those of the operating system."""
    with _BoundedFile(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        end = path.stat().st_size
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            if not 0 <= member.size <= end - member.offset_data:
                raise tarfile.ReadError(f"{member.name} runs beyond the end")
            *folders, last = member.name.split("/")
            system = last.startswith(".") or not SYSTEM_FOLDERS.isdisjoint(map(str.lower, folders))
            if last and not system and member.type != tarfile.DIRTYPE:
                yield member.name, member, tar
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile stops at a damaged header without an error
            raise tarfile.ReadError(f"damaged at byte {tar.offset:,}")


def _read_labels(content: bytes, kind: str, where: str) -> dict[str, str]:
    """The labels in a ``.cls`` or ``.json`` member, by name; the class has the name "class"."""
    try:
        if kind == ".cls":
            return {CLASS_LABEL: content.decode().strip()}
        document = json.loads(content)
        labels = {CLASS_LABEL: document.get(CLASS_LABEL, document.get("label"))}
        labels |= document.get("attributes") or {}
        return {name: _label_value(value) for name, value in labels.items() if value is not None}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise DomtransError(
            f'{where} must be of the form {{"class": "cat", "attributes": {{"hair_colour": "brown"}}}}'
        ) from None


def _label_value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return str(value)
