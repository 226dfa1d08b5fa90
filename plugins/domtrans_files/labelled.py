"""Reads images whose classes, attributes or splits are in label files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from domtrans import DomtransError, class_list, list_names, natural_key
from domtrans_files.label_files import LabelFile
from domtrans_files.reading import FLAT, ROLES, Folder, Layout, Names, Reading, below, roles_of, skip
from domtrans_files.splits import Split


def read_labelled(
    folder: Folder,
    index: list[int],
    base: Names,
    files: Sequence[LabelFile],
    layout: Layout,
    by_folders: Callable[[], Reading],
    used: Mapping[str, Split] | None = None,
) -> Reading:
    """Images whose classes or attributes are in label files.

    Args:
        folder: The folder.
        index: The images.
        base: The folder of the files, or of the splits that have one each.
        files: A file for all, or for each split.
        layout: "auto" refuses a file that contradicts the folders.
        by_folders: Reads the classes from folders, for files that have attributes only.
        used: The folders of the splits, if each has its own file.
    """
    notes = [note for file in files for note in file.notes]
    name = files[0].path.name
    roles = _roles_in_files(folder, files) if used is None else {}
    labels = {i: label for file in files for i, label in (file.labels or {}).items() if label}
    labels = {i: labels[i] for i in index if i in labels}
    if not labels:
        reading = by_folders()
        reading.notes += notes
    else:
        depth = len(base) + (used is not None)
        if layout == "auto":
            _refuse_other_labels(folder, len(index), depth, labels, name, notes)
        reading = Reading(list(labels), *_apply_vocabulary(labels, folder.vocabulary(base)), notes=notes)
        skip(reading, (i for i in index if i not in labels), f"without a label in {name}")
        if used is None and not roles:
            here, subfolders = below(folder, index, base)
            found = roles_of(subfolders)
            if not here and len(found) == len(subfolders) > 1 and "train" in found.values():
                roles = {i: role for place, role in found.items() for i in subfolders[place]}
    _apply_roles(reading, roles, name)
    return reading


def _apply_vocabulary(labels: dict[int, str], vocabulary: tuple[str, ...]) -> tuple[tuple[str, ...], dict[int, str]]:
    """The class names and the labels; numbers in a label file index the names in ``classes.txt``."""
    if vocabulary and all(label.isdecimal() and int(label) < len(vocabulary) for label in labels.values()):
        return vocabulary, {i: vocabulary[int(label)] for i, label in labels.items()}
    used = set(labels.values())
    return (vocabulary if used <= set(vocabulary) else class_list(used)), labels


def _apply_roles(reading: Reading, roles: Mapping[int, str], name: str) -> None:
    """Set the splits by role; validation images are the test split if there are no others."""
    if reading.splits or not {"test", "val"} & set(roles.values()) or "train" not in roles.values():
        return
    test = "test" if "test" in roles.values() else "val"
    splits: dict[str, Split] = {"train": "train", test: "test"}
    for i in reading.index:
        if (role := roles.get(i, "")) in splits:
            reading.splits[i] = splits[role]
        else:
            skip(reading, [i], "in the validation split" if role else f"in neither split of {name}")
    reading.index = [i for i in reading.index if i in reading.splits]


def _roles_in_files(folder: Folder, files: Sequence[LabelFile]) -> dict[int, str]:
    """The role of every image, from the names of the label files, or from a column. Empty without."""
    if len(files) == 1:
        return _roles_in_column(files[0])
    found = [_role_of_file(file.path) for file in files]
    if None in found or len(set(found)) < len(found) or "train" not in found:
        names = [file.path.name for file in files]
        raise DomtransError(f"{folder.path} has several label files ({list_names(names)}): choose one with labels=NAME")
    return {i: role for file, role in zip(files, found, strict=True) if role for i in file.indices}


def _roles_in_column(file: LabelFile) -> dict[int, str]:
    """The role of every image with a value in the column of splits. Raises DomtransError for values that are no splits."""
    values = {value for value in file.splits.values() if value}
    if unknown := sorted((value for value in values if value.lower() not in ROLES), key=natural_key):
        raise DomtransError(
            f"{file.path} has a column of splits with the values {list_names(unknown)}, which name no split; write "
            f"{list_names([*ROLES])}, or give the column another name, which makes it an attribute"
        )
    return {i: ROLES[value.lower()] for i, value in file.splits.items() if value}


def _refuse_other_labels(
    folder: Folder, count: int, depth: int, labels: Mapping[int, str], name: str, notes: Sequence[str]
) -> None:
    """Raise DomtransError if a label file names few images, or if folders give some of them other classes."""
    only = f"layout=labels (the {len(labels):,} images that {name} names)"
    if 2 * len(labels) < count:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise folder.refuse(f"{name} has labels for {len(labels):,} of the {count:,} images{why}", [only, FLAT])
    places = {i: folder.names[i][depth] for i in labels if len(folder.names[i]) > depth + 1}
    other = [i for i, place in places.items() if labels[i] != place]
    if other and len(other) < len(places):
        image = "/".join(folder.names[other[0]])
        raise folder.refuse(
            f"{image} has the class '{labels[other[0]]}' in {name}, but is in the folder '{places[other[0]]}'",
            [only, "layout=classes (a class for each folder)", FLAT],
        )


def _role_of_file(path: Path) -> str | None:
    """The split that a label file is for by its name, such as "train.csv" or "labels-test.csv"."""
    return next((ROLES[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in ROLES), None)
