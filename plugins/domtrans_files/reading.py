"""How the images of a folder are read: what every layout shares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from domtrans import DomtransError
from domtrans_files.label_files import LabelFile
from domtrans_files.splits import Split

Layout = Literal["auto", "classes", "splits", "flat", "labels", "pairs"]
"""How a folder is organised: a subfolder per class; subfolders train and test; images without classes; a label file; or two
domains in subfolders such as trainA, trainB, testA and testB."""

Part = Literal["A", "B"]

Names = tuple[str, ...]
"""The folders of an image below the one that is considered, and its file name."""

ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
"""What a folder's name says about its images, by lower-case name."""

SET_WORD = re.compile("(train|test|val)(?:set|data|images?|imgs?)")
"""A word such as "trainset"."""

STRAY_SHARE = 0.1
"""Share of images beside class folders up to which they are strays: they are named and not read."""

FLAT = "layout=flat (all images, without classes)"


@dataclass
class Reading:
    """How the images of a folder are read.

    Attributes:
        index: The images that are read, as positions in the given names.
        classes: Names of the classes; empty without.
        labels: By image: the class name. Empty without classes.
        splits: By image: "train" or "test". Empty if the split is held out.
        skipped: By image that is not read: the reason.
        notes: Sentences about what is missing or skipped.
        part_used: Whether the option ``part`` chose the images.
    """

    index: list[int]
    classes: tuple[str, ...] = ()
    labels: dict[int, str] = field(default_factory=dict)
    splits: dict[int, Split] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    part_used: bool = False


@dataclass(frozen=True)
class Folder:
    """A folder to recognise.

    Attributes:
        path: For messages.
        names: The images: their folders below ``path`` and their file name.
        empty_folders: Of a folder, given by its names below ``path``: the names of its folders without any file.
        label_files: Label files by their folder, given by its names below ``path``.
        vocabulary: Of a folder, given likewise: the class names in its ``classes.txt``; empty without one.
    """

    path: Path
    names: Sequence[Names]
    empty_folders: Callable[[Names], Sequence[str]] = lambda _: ()
    label_files: Mapping[Names, Sequence[LabelFile]] = field(default_factory=dict)
    vocabulary: Callable[[Names], tuple[str, ...]] = lambda _: ()

    def refuse(self, problem: str, readings: Iterable[str]) -> DomtransError:
        """The error for a folder that can be read in several ways."""
        return DomtransError(f"{self.path}: {problem}; choose a reading: {', or '.join(readings)}")


def below(folder: Folder, index: Iterable[int], base: Names) -> tuple[list[int], dict[str, list[int]]]:
    """The images directly in a folder, and those in each of its subfolders."""
    here: list[int] = []
    subfolders: dict[str, list[int]] = {}
    depth = len(base)
    for i in index:
        names = folder.names[i]
        if len(names) == depth + 1:
            here.append(i)
        else:
            subfolders.setdefault(names[depth], []).append(i)
    return here, subfolders


def roles_of(subfolders: Iterable[str]) -> dict[str, str]:
    """The subfolders whose names are those of splits, with their role.

    Without names such as "train" itself, the names may have the same further words: "train_images" and "test_images", or
    "seg_train" and "seg_test".
    """
    names = list(subfolders)
    exact = {name: ROLES[name.lower()] for name in names if name.lower() in ROLES}
    if exact:
        return exact
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = [match[1] if (match := SET_WORD.fullmatch(word)) else word for word in re.findall("[a-z]+", name.lower())]
        roles = [ROLES[word] for word in words if word in ROLES]
        if len(roles) == 1:
            found.setdefault(tuple(word for word in words if word not in ROLES), {})[name] = roles[0]
    (first, *others) = found.values() or [{}]
    return first if not others and len(set(first.values())) > 1 and "train" in first.values() else {}


def are_strays(beside: int, total: int) -> bool:
    """Whether so few images are beside folders that they are there by mistake."""
    return beside == 1 < total - 1 or beside <= STRAY_SHARE * total


def skip(reading: Reading, index: Iterable[int], reason: str) -> None:
    """Leave images out of a reading, for a reason that is shown."""
    reading.skipped |= dict.fromkeys(index, reason)
