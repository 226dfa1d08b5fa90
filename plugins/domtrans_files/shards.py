"""Where the pictures of a WebDataset are, and what is said of each: tar shards, scanned once, then read at random.

Nothing is ever extracted: a member's name is no more than the key that joins a picture with its labels.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from braceexpand import braceexpand
from torch import Tensor

from domtrans import Cache, DomtransError

PICTURES = frozenset({"png", "jpg", "jpeg", "webp"})
MEMBER = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
"""A member's key, up to the first dot of its last part, and what of it the member holds."""

RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
"""The two ends of a range of numbers in braces."""

CLASS = "class"
"""What a class is called among the labels of a picture."""

LAYOUT = 1
"""Of what the cache holds of a shard; another number, and shards are scanned again."""
MOST_SHARDS = 100_000
LONGEST = 2**20
"""Bytes of a header or of a picture's labels; real ones have some hundreds."""


@dataclass(frozen=True, eq=False)
class Shard:
    """What is in a shard. ``spans``: int64 [n, 2], the first byte and the number of bytes of every picture.

    ``labels``: int64 [n] into ``values``, by name; -1 where nothing is said.
    """

    spans: Tensor
    labels: Mapping[str, Tensor]
    values: Mapping[str, list[str]]


def find_shards(pattern: str) -> list[Path]:
    """The shards of ``train-{000..099}.tar``, or those of a folder by name. Raises DomtransError if one is not there."""
    if Path(pattern).is_dir():
        paths = sorted(Path(pattern).glob("*.tar"))
    else:
        ends = [sorted(map(int, pair)) for pair in RANGE.findall(pattern)]
        if any(last - first >= MOST_SHARDS for first, last in ends):  # braceexpand would hold every number of it
            raise DomtransError(f"{pattern} stands for more than {MOST_SHARDS:,} shards; check its braces")
        try:
            paths = [Path(name) for name in islice(braceexpand(pattern), MOST_SHARDS + 1)]
        except ValueError as error:
            raise DomtransError(f"{pattern} cannot be expanded: {error}; write e.g. train-{{000..099}}.tar") from None
    if len(paths) > MOST_SHARDS:
        raise DomtransError(f"{pattern} stands for more than {MOST_SHARDS:,} shards; check its braces")
    missing = [path for path in paths if not path.is_file()]
    if not paths or missing:
        what = f"there is no file {missing[0]}" if missing else f"there are no .tar files in {pattern}"
        raise DomtransError(f"{what}; shards are files on this machine, e.g. data/train-{{000..099}}.tar, or a folder of them")
    return paths


def read_shard(path: Path, cache: Cache) -> Shard:
    """What is in a shard, from the cache or by scanning it. Raises DomtransError for one that is damaged or compressed."""
    try:
        about = path.stat()
        key = {"shard": str(path.absolute()), "bytes": about.st_size, "modified": about.st_mtime_ns, "layout": LAYOUT}
        found = cache.tensors("shards", key, lambda: _scan(path))
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, LookupError, RecursionError) as error:  # for odd headers
        raise DomtransError(
            f"{path} cannot be read as an uncompressed tar file: {' '.join(str(error).split())[:160]}; it was cut short, "
            "or is something else"
        ) from None
    values = json.loads(found["values"].numpy().tobytes())
    return Shard(found["spans"], {name: found[f"label.{name}"] for name in values}, values)


def read_vocabulary(folder: Path) -> dict[str, list[str]]:
    """The values that every label can take, in order, from ``vocabulary.json``; nothing where there is no such file."""
    file = folder / "vocabulary.json"
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(LONGEST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DomtransError(f"{file} cannot be read: {' '.join(str(error).split())[:160]}") from None
    sound = isinstance(found, dict) and all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in found.values()
    )
    if not sound:
        raise DomtransError(f'{file} must be of the form {{"hair_colour": ["black", "brown"]}}')
    return found


def _scan(path: Path) -> dict[str, Tensor]:
    """A shard as the cache keeps it."""
    pictures: dict[str, tuple[int, int]] = {}
    said: dict[str, dict[str, str]] = {}
    for key, kind, member, tar in _members(path):
        if kind in PICTURES:
            if key in pictures:
                raise DomtransError(f"{path} has two pictures of the name {key}")
            pictures[key] = member.offset_data, member.size
        elif kind in ("json", "cls"):
            if member.size > LONGEST:
                raise DomtransError(f"{path}: {member.name} has {member.size:,} bytes, too many for labels (limit {LONGEST:,})")
            file = tar.extractfile(member)
            assert file is not None  # it is a regular file
            known, more = said.get(key, {}), _labels(file.read(), kind, f"{path}: {member.name}")
            said[key] = more | known if kind == "cls" else known | more  # a .json names what a .cls may only number
    names = sorted({name for key in pictures for name in said.get(key, ())})
    columns = {name: [said.get(key, {}).get(name) for key in pictures] for name in names}
    values = {name: sorted({value for value in column if value is not None}) for name, column in columns.items()}
    places = {name: {value: place for place, value in enumerate(of)} for name, of in values.items()}
    labels = {
        f"label.{name}": torch.tensor([-1 if value is None else places[name][value] for value in column], dtype=torch.int64)
        for name, column in columns.items()
    }
    spans = torch.tensor(list(pictures.values()), dtype=torch.int64).reshape(-1, 2)
    return {"spans": spans, "values": torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8), **labels}


class _Bounded(io.FileIO):
    """A shard as tarfile may read it: a header that claims gigabytes, or a negative size, is refused."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""


def _members(path: Path) -> Iterator[tuple[str, str, tarfile.TarInfo, tarfile.TarFile]]:
    """Key, kind and header of every regular file; links, devices and what has no kind are passed over."""
    with _Bounded(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        end = path.stat().st_size
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else tarfile keeps all of them
            if not 0 <= member.size <= end - member.offset_data:
                raise tarfile.ReadError(f"{member.name} runs beyond the end")
            match = MEMBER.fullmatch(member.name)
            if match and member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                yield match[1], match[2].lower(), member, tar
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError(f"damaged at byte {tar.offset:,}")


def _labels(content: bytes, kind: str, where: str) -> dict[str, str]:
    """What a ``.cls`` or ``.json`` member says of its picture, by name; the class under the name "class"."""
    try:
        if kind == "cls":
            return {CLASS: content.decode().strip()}
        found = json.loads(content)
        labels = {CLASS: found[CLASS]} if CLASS in found else {}
        labels |= found.get("attributes") or {}
        return {name: _value(value) for name, value in labels.items() if value is not None}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise DomtransError(
            f'{where} must be of the form {{"class": "cat", "attributes": {{"hair_colour": "brown"}}}}'
        ) from None


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return str(value)
