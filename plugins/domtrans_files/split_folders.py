"""Reads folders with splits, such as train and test, and with two domains, such as trainA and trainB."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from domtrans import DomtransError, class_list, list_names
from domtrans_files.class_folders import read_class_folders
from domtrans_files.labelled import read_labelled
from domtrans_files.reading import FLAT, ROLES, Folder, Layout, Names, Part, Reading, are_strays, below, roles_of, skip
from domtrans_files.splits import Split

PAIRED = re.compile(r"(train|training|test|testing|val|valid|validation)[_-]?([ab])", re.IGNORECASE)


def find_pairs(subfolders: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Subfolders like trainA: their role and part."""
    matches = {name: PAIRED.fullmatch(name) for name in subfolders}
    return {name: (ROLES[match[1].lower()], match[2].upper()) for name, match in matches.items() if match}


def read_pairs(
    folder: Folder,
    pairs: Mapping[str, tuple[str, str]],
    here: list[int],
    subfolders: Mapping[str, list[int]],
    base: Names,
    layout: Layout,
    part: Part | None,
) -> Reading:
    """One of the two domains in folders like trainA, trainB, testA and testB."""
    parts = sorted({letter for _, letter in pairs.values()})
    others = [name for name in subfolders if name not in pairs]
    if layout == "auto" and (others or (here and not are_strays(len(here), len(folder.names)))):
        beside = f"the folders {list_names(sorted(others))}" if others else f"{len(here):,} images"
        raise folder.refuse(
            f"{beside} are beside {list_names(sorted(pairs))}",
            [f"layout=pairs (without {beside})", "layout=classes (each folder is a class)", FLAT],
        )
    if part is None and len(parts) > 1:
        raise DomtransError(
            f"{folder.path} holds two domains ({list_names(sorted(pairs))}): set part=A for one and part=B for the other"
        )
    if part is not None and part not in parts:
        raise DomtransError(f"{folder.path} has no part {part}; it has {list_names(sorted(pairs))}")
    chosen = {name: role for name, (role, letter) in pairs.items() if letter == (part or parts[0])}
    mine = {name: subfolders[name] for name in chosen}
    reading = read_splits(folder, chosen, [], mine, base, "splits")
    reading.part_used = True
    skip(reading, here, "outside the recognised folders")
    for name in others:
        skip(reading, subfolders[name], f"in {name}, which is not a split")
    return reading


def read_splits(
    folder: Folder,
    roles: Mapping[str, str],
    here: list[int],
    subfolders: Mapping[str, list[int]],
    base: Names,
    layout: Layout,
) -> Reading:
    """Folders like train and test, each flat or with class folders; val is the test split if there is no test."""
    by_role = {role: name for name, role in roles.items()}
    if len(by_role) < len(roles):
        raise folder.refuse(
            f"several folders are the same split: {list_names(sorted(roles))}",
            ["rename one of them", "layout=classes (each is a class)", FLAT],
        )
    test = "test" if "test" in by_role else "val"
    wanted: dict[str, Split] = {"train": "train", test: "test"}
    used = {by_role[role]: split for role, split in wanted.items() if role in by_role}

    def by_folders() -> Reading:
        places = dict(_innermost(folder, (*base, name), subfolders.get(name, []), roles[name]) for name in used)
        return read_class_folders(folder, places)

    files = [file for name in used for file in folder.label_files.get((*base, name), ())]
    if files:
        index = [i for name in used for i in subfolders.get(name, ())]
        reading = read_labelled(folder, index, base, files, layout, by_folders, used)
    else:
        reading = by_folders()
    if len(used) > 1:
        reading.splits = {i: split for name, split in used.items() for i in subfolders.get(name, ())}
    if "val" in by_role and test == "test":
        skip(reading, subfolders.get(by_role["val"], ()), f"in {by_role['val']}, as there is also {by_role['test']}")
    skip(reading, here, "outside the recognised folders")
    for name, index in subfolders.items():
        if name not in roles:
            skip(reading, index, f"in {name}, which is not a split")
    return reading


def _innermost(folder: Folder, place: Names, index: list[int], role: str) -> tuple[Names, list[int]]:
    """The folder with the images of a split: train/train is train again, as archives are often unpacked."""
    here, inside = below(folder, index, place)
    if not here and len(inside) == 1:
        (name,) = inside
        if name == place[-1] or ROLES.get(name.lower()) == role:
            return _innermost(folder, (*place, name), index, role)
    return place, index


def have_inner_splits(folder: Folder, subfolders: Mapping[str, list[int]], base: Names) -> bool:
    """Whether every subfolder has its own train and test (or val), and nothing else."""
    if len(subfolders) < 2:
        return False
    for name, index in subfolders.items():
        here, inner = below(folder, index, (*base, name))
        roles = roles_of(inner)
        if here or len(roles) < len(inner) or "train" not in roles.values() or len(roles) < 2:
            return False
    return True


def read_inner_splits(folder: Folder, subfolders: Mapping[str, list[int]], base: Names) -> Reading:
    """Classes with a folder for each split, such as cat/train and cat/test."""
    reading = Reading([], classes=class_list(subfolders))
    for name, index in subfolders.items():
        _, inner = below(folder, index, (*base, name))
        roles = roles_of(inner)
        test = "test" if "test" in roles.values() else "val"
        for inside, role in roles.items():
            if role in ("train", test):
                reading.index += inner[inside]
                reading.splits |= dict.fromkeys(inner[inside], "train" if role == "train" else "test")
                reading.labels |= dict.fromkeys(inner[inside], name)
            else:
                skip(reading, inner[inside], "in the validation split")
    return reading
