"""Scans a folder of images with its label files, and reads how it is organised."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from domtrans import (
    Attribute,
    DomtransError,
    ImageScan,
    SkipKind,
    SkippedFile,
    class_list,
    decode_text,
    describe_skipped,
    scan_images,
)
from domtrans_files.image_names import ImageNames
from domtrans_files.label_files import SUFFIXES, LabelFile, read_label_file
from domtrans_files.layout import recognise
from domtrans_files.reading import ROLES, Folder, Layout, Names, Part, Reading

MAX_CLASSES_BYTES = 2**22
"""Size limit of ``classes.txt``."""

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
"""Suffixes of files that a user may expect to be read as label files."""

MAX_LABEL_FILES = 50
"""Candidates that are opened as label files; a folder with more has a file for each image, which is something else."""

MAX_LABEL_FILE_DEPTH = 3
"""Folders below the root down to which label files are searched."""


@dataclass(frozen=True)
class FolderReading:
    """The images under a folder, how they are read, and what is skipped.

    Attributes:
        names: Every image file, relative to the folder.
        reading: How they are read; its indices are positions in ``names``.
        label_files: The label files that are used.
        skipped: Every other file and every image that is not read, with the reason.
    """

    names: Sequence[str]
    reading: Reading
    label_files: Sequence[LabelFile]
    skipped: list[SkippedFile] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """The images that are read, relative to the folder, in natural order."""
        return [self.names[i] for i in self.reading.index]

    @functools.cached_property
    def labels(self) -> Tensor | None:
        """int64, the class of every image that is read; None without classes."""
        if not self.reading.classes:
            return None
        number = {name: k for k, name in enumerate(self.reading.classes)}
        return torch.tensor([number[self.reading.labels[i]] for i in self.reading.index], dtype=torch.int64)

    @property
    def attributes(self) -> dict[str, Attribute]:
        """By name, with a value for every image that is read."""
        columns = sorted({name for file in self.label_files for name in file.attributes})
        return {name: self._attribute(name) for name in columns}

    @property
    def notes(self) -> list[str]:
        """Sentences about what is skipped or missing."""
        note = describe_skipped(self.skipped)
        return [*([note] if note else []), *self.reading.notes]

    def split(self, name: str) -> Tensor:
        """int64 [n], the positions in ``files`` of a split that the folder itself has."""
        splits = self.reading.splits
        return torch.tensor([k for k, i in enumerate(self.reading.index) if splits[i] == name], dtype=torch.int64)

    def _attribute(self, name: str) -> Attribute:
        values = {i: value for file in self.label_files for i, value in file.attributes.get(name, {}).items()}
        names = class_list(values.values())
        number = {value: k for k, value in enumerate(names)}
        index = [number[values[i]] if i in values else -1 for i in self.reading.index]
        return Attribute(names, torch.tensor(index, dtype=torch.int64))


def read_folder(root: Path, layout: Layout = "auto", part: Part | None = None, labels: str | None = None) -> FolderReading:
    """Scan a folder and recognise how it is organised.

    Args:
        root: The folder.
        layout: The layout, or "auto".
        part: Which of two domains to read.
        labels: A label file, relative to the folder; by default one is searched.

    Raises:
        DomtransError: If there are no images, or the folder can be read in several ways.
    """
    root = root.absolute()
    scan = scan_images(root)
    if not scan.images:
        raise DomtransError(f"there are no images in {root}" + (f": {scan.note}" if scan.note else "") + _other_domain(scan))
    prefix = len(os.path.join(root, ""))  # noqa: PTH118 - relative_to is a hundred times slower
    names = [str(image)[prefix:] for image in scan.images]
    files = _label_files(root, scan, names, labels) if labels or layout not in ("classes", "flat") else {}
    if labels is not None and layout == "auto":
        layout = "labels"

    @functools.cache
    def skipped_folders() -> set[Names]:
        """All folders that hold something other than images."""
        parts = [Path(str(file.path)[prefix:]).parts for file in scan.skipped]
        return {names[:depth] for names in parts for depth in range(1, len(names) + 1)}

    def empty_folders(place: Names) -> list[str]:
        path = root.joinpath(*place)
        folders = [entry.name for entry in os.scandir(path) if entry.is_dir()] if path.is_dir() else []  # only one split has it
        return [name for name in folders if (*place, name) not in skipped_folders() and (*place, name) not in image_folders()]

    @functools.cache
    def image_folders() -> set[Names]:
        return {names[:depth] for names in split_names for depth in range(1, len(names))}

    split_names = [tuple(name.split(os.sep)) for name in names]  # noqa: PTH206 - Path.parts takes five times as long
    vocabulary = functools.cache(lambda place: read_classes(root.joinpath(*place, "classes.txt")))
    reading = recognise(Folder(root, split_names, functools.cache(empty_folders), files, vocabulary), layout, part)
    if not reading.index:
        raise DomtransError(f"there are no images to read in {root}: layout={layout} skips all of them")
    used = [file for place in files.values() for file in place]
    known = {file.path for file in used}
    skipped = [
        replace(file, kind=SkipKind.NO_LABEL_FILE, detail=f"({file.path.suffix.lower()})")
        if file.path.suffix.lower() in TABLES
        else file
        for file in scan.skipped
        if file.path not in known and not _is_description(file.path, root)
    ]
    skipped += [SkippedFile(scan.images[i], SkipKind.NOT_IN_USE, reason) for i, reason in sorted(reading.skipped.items())]
    return FolderReading(names, reading, used, skipped)


def _other_domain(scan: ImageScan) -> str:
    """The domain that reads the files of a folder without images."""
    suffixes = {file.path.suffix.lower() for file in scan.skipped}
    domain = "webdataset" if ".tar" in suffixes else "arrays" if suffixes & {".npz", ".npy"} else None
    return f"; the domain '{domain}' reads such files" if domain else ""


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names in ``classes.txt``, one a line, with or without a number before each; empty without such a file."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_CLASSES_BYTES:
            return ()
        lines = [line.strip() for line in decode_text(path.read_bytes()).splitlines() if line.strip()]
    except (OSError, ValueError):
        return ()
    numbered = [re.fullmatch(r"([0-9]+)[\s,]+(\S.*)", line) for line in lines]
    if lines and all(numbered) and not _is_folder_name(lines[0], path.parent):
        lines = [match[2] for match in numbered if match]
    return tuple(lines) if len(set(lines)) == len(lines) else ()


def _is_folder_name(name: str, place: Path) -> bool:
    """Whether a folder, or a split in it, has a subfolder of this name."""
    try:
        return any(
            (inside / name).is_dir() for inside in (place, *(each for each in place.iterdir() if each.name.lower() in ROLES))
        )
    except OSError:
        return False


def _is_description(path: Path, root: Path) -> bool:
    """Whether a file describes a set that ``domtrans generate`` wrote."""
    return path.name == "classes.txt" or path == root / "about.json"


def _label_files(root: Path, scan: ImageScan, names: Sequence[str], given: str | None) -> dict[Names, list[LabelFile]]:
    """Label files by their folder: the given one, or those that name images."""
    images = functools.cache(lambda: ImageNames(names))
    if given is not None:
        path = root / Path(given).expanduser()
        if not path.is_file():
            raise DomtransError(f"there is no label file {path}")
        inside = path.parent.relative_to(root).parts if path.parent.is_relative_to(root) else ()
        file = read_label_file(path, images(), "/".join(inside))
        if file is None:
            raise DomtransError(
                f"{path} names no images of {root}; a label file has the columns file and label, as CSV, TSV, JSON, JSON lines "
                "or lines 'path label'"
            )
        return {(): [file]}
    found: dict[Names, list[LabelFile]] = {}
    texts = [file.path for file in scan.skipped if file.path.suffix.lower() in SUFFIXES and not file.quiet]
    candidates = [
        (path, path.relative_to(root).parts[:-1])
        for path in texts
        if not _is_description(path, root) and len(path.relative_to(root).parts) <= MAX_LABEL_FILE_DEPTH
    ]
    per_folder: dict[Names, int] = {}
    for _, place in candidates:
        per_folder[place] = per_folder.get(place, 0) + 1
    for path, place in candidates:
        if per_folder[place] <= MAX_LABEL_FILES and (file := read_label_file(path, images(), "/".join(place))):
            found.setdefault(place, []).append(file)
    return found
