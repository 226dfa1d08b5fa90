"""Finds WebDataset tar shards: those of a pattern or in a folder, here or at an address."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from braceexpand import braceexpand

from domtrans import DataFile, DomtransError, data_file, find_file, is_remote, list_folder, list_names, natural_key, reason_of
from domtrans_files.reading import ROLES

BRACE_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
"""The first and the last number of a range in braces."""

MAX_SHARDS = 100_000

MAX_VOCABULARY_BYTES = 2**20

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

REQUESTS = 16
"""Remote shards that are looked up at a time."""


def find_shards(pattern: str) -> list[DataFile]:
    """The shards of a pattern like ``train-{000..099}.tar``, or of a folder. Raises DomtransError if one is missing."""
    pattern = _expand_home(pattern)
    if _is_folder(pattern):
        paths = [path for path, inside in _entries(pattern) if not inside and is_shard(path)]
    else:
        ends = [sorted(map(int, pair)) for pair in BRACE_RANGE.findall(pattern)]
        if any(last - first >= MAX_SHARDS for first, last in ends):  # braceexpand would make a list of all
            raise DomtransError(f"{pattern} means more than {MAX_SHARDS:,} shards; check its braces")
        try:
            paths = list(islice(braceexpand(pattern), MAX_SHARDS + 1))
        except ValueError as error:
            raise DomtransError(f"{pattern} cannot be expanded: {error}; write e.g. train-{{000..099}}.tar") from None
    if len(paths) > MAX_SHARDS:
        raise DomtransError(f"{pattern} means more than {MAX_SHARDS:,} shards; check its braces")
    if not paths:
        raise _no_shards(f"there are no .tar files in {pattern}")
    return _open_all(paths)


def find_split_shards(pattern: str) -> tuple[list[DataFile], list[DataFile] | None, list[str]]:
    """The shards of the training split, those of the test split, and notes about files that are not read.

    In a folder, shards such as ``train-000.tar`` and ``test-000.tar``, or subfolders train and test, are the splits; val is
    the test split if there is no test. Without splits, all shards are returned first and None second.

    Raises:
        DomtransError: If a shard is missing, or the splits of the shards are unclear.
    """
    folder = _expand_home(pattern)
    if not _is_folder(folder):
        return find_shards(pattern), None, []
    entries = _entries(folder)
    packed = [name_of(path) for path, _ in entries if name_of(path).lower().endswith(PACKED_SUFFIXES)]
    notes = [f"compressed shards that are not read, unpack them: {list_names(packed)}"] if packed else []
    shards = {path: _role(name_of(path)) for path, inside in entries if not inside and is_shard(path)}
    if not shards:
        splits = {path: role for path, inside in entries if inside and (role := ROLES.get(name_of(path).lower()))}
        shards = {
            shard: role for place, role in splits.items() for shard, inside in _entries(place) if not inside and is_shard(shard)
        }
    if not shards:
        raise _no_shards(f"there are no .tar files in {pattern}")
    roles = set(shards.values())
    if "train" not in roles or len(roles) == 1:
        return _open_all(list(shards)), None, notes
    if None in roles:
        other = [name_of(path) for path, role in shards.items() if role is None]
        raise DomtransError(
            f"{folder} has shards of splits and others ({list_names(other)}); choose with path and "
            f"test_path, e.g. path={folder}/train-{{000..099}}.tar"
        )
    test = "test" if "test" in roles else "val"
    if len(roles) > 2:
        notes.append(f"{sum(role == 'val' for role in shards.values()):,} shards of the validation split are not read")
    train, held_out = ([path for path, role in shards.items() if role == name] for name in ("train", test))
    return _open_all(train), _open_all(held_out), notes


def read_vocabulary(shard: DataFile) -> dict[str, list[str]]:
    """The values of each label, in order, from ``vocabulary.json`` beside a shard; empty if there is no such file."""
    name = f"{shard.address.rpartition('/')[0]}/vocabulary.json"
    file = find_file(name if is_remote(name) else str(Path(shard.address).with_name("vocabulary.json")))
    if file is None:
        return {}
    try:
        with file.fetch([(0, MAX_VOCABULARY_BYTES)]).open("rb") as opened:
            vocabulary = json.loads(opened.read(MAX_VOCABULARY_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DomtransError(f"{file.address} cannot be read: {reason_of(error)}") from None
    valid = isinstance(vocabulary, dict) and all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in vocabulary.values()
    )
    if not valid:
        raise DomtransError(f'{file.address} must be of the form {{"hair_colour": ["black", "brown"]}}')
    return vocabulary


def _open_all(paths: Sequence[str]) -> list[DataFile]:
    """The files at these paths. Raises DomtransError for the first that is missing."""
    if is_remote(paths[0]):
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(data_file, paths))
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise _no_shards(f"there is no file {missing[0]}")
    return [data_file(path) for path in paths]


def _no_shards(problem: str) -> DomtransError:
    return DomtransError(f"{problem}; give files, e.g. data/train-{{000..099}}.tar, or a folder of shards")


def _expand_home(path: str) -> str:
    return path if is_remote(path) else str(Path(path).expanduser())


def _is_folder(path: str) -> bool:
    """Whether a path is a folder: at an address, anything without braces that is not named like a shard."""
    return not ("{" in path or is_shard(path)) if is_remote(path) else Path(path).is_dir()


def _entries(folder: str) -> list[tuple[str, bool]]:
    """What is in a folder, in natural order: the path of each entry, and whether it is a folder."""
    inside = list_folder(folder) if is_remote(folder) else [(str(path), path.is_dir()) for path in Path(folder).iterdir()]
    return sorted(inside, key=lambda entry: natural_key(name_of(entry[0])))


def name_of(path: str) -> str:
    """The name of a file or folder. The query of an address does not count."""
    return (path.partition("?")[0] if is_remote(path) else path).replace("\\", "/").rpartition("/")[2]


def is_shard(path: str) -> bool:
    """Whether a path or an address ends like that of a shard."""
    return name_of(path).lower().endswith(".tar")


def _role(name: str) -> str | None:
    """The split in a shard's name, such as "train-000.tar" or "cats_test_01.tar"."""
    return next((ROLES[word] for word in re.split("[^a-z]+", name.lower()) if word in ROLES), None)
