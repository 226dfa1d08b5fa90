"""Recognises how a folder of images is organised, from the names of its files alone.

Nothing is guessed: a folder that can be read in several ways is refused, with the ways to choose from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from domtrans import DomtransError, class_list, list_names, natural_key
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

PAIRED = re.compile(r"(train|training|test|testing|val|valid|validation)[_-]?([ab])", re.IGNORECASE)

IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "jpegimages"})
MASK_FOLDERS = frozenset({"mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "seg", "labels"})
"""Names of folders that hold images and their masks, which are not classes."""

STRAY_SHARE = 0.1
"""Share of images beside class folders up to which they are strays: they are named and not read."""


@dataclass
class Reading:
    """How the images of a folder are read.

    Attributes:
        kind: The layout, e.g. "splits".
        index: The images that are read, as positions in the given names.
        classes: Names of the classes; empty without.
        labels: By image: the class name. Empty without classes.
        splits: By image: "train" or "test". Empty if the split is held out.
        skipped: By image that is not read: the reason.
        notes: Sentences about what is missing or skipped.
        part_used: Whether the option ``part`` chose the images.
    """

    kind: str
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
        label_files: Label files by their folder, "" for ``path``.
        vocabulary: Of a folder: the class names in its ``classes.txt``; empty without one.
    """

    path: Path
    names: Sequence[Names]
    empty_folders: Callable[[Names], Sequence[str]] = lambda _: ()
    label_files: Mapping[Names, Sequence[LabelFile]] = field(default_factory=dict)
    vocabulary: Callable[[Names], tuple[str, ...]] = lambda _: ()

    def refuse(self, problem: str, readings: Iterable[str]) -> DomtransError:
        """The error for a folder that can be read in several ways."""
        return DomtransError(f"{self.path}: {problem}; choose a reading: {', or '.join(readings)}")


def recognise(folder: Folder, layout: Layout = "auto", part: Part | None = None) -> Reading:
    """How the images of a folder are read.

    Args:
        folder: The folder.
        layout: The layout, or "auto" to recognise it.
        part: Which of two domains to read, where the folder holds two.

    Raises:
        DomtransError: If the folder has another layout than the given one, or can be read in several ways.
    """
    everything = list(range(len(folder.names)))
    if layout == "flat":
        reading = Reading("flat", everything)
    elif layout == "classes":
        reading = _read_class_folders(folder, {(): everything}, forced=True)
    else:
        reading = _read_level(folder, everything, (), layout, part)
    if part is not None and not reading.part_used:
        raise DomtransError(
            f"{folder.path}: part={part} chooses between two domains in one folder, such as trainA and trainB, which are "
            "missing here; remove part"
        )
    reading.index.sort(key=lambda i: natural_key("/".join(folder.names[i])))
    return reading


def _below(folder: Folder, index: Iterable[int], base: Names) -> tuple[list[int], dict[str, list[int]]]:
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


def _read_level(  # noqa: PLR0911 - one return for each layout
    folder: Folder, index: list[int], base: Names, layout: Layout, part: Part | None
) -> Reading:
    """Recognise a folder below the root; descends while there is only one subfolder with images."""
    here, subfolders = _below(folder, index, base)
    vocabulary = folder.vocabulary(base)
    if layout == "auto" and vocabulary and subfolders and not here and set(subfolders) <= set(vocabulary):
        return _read_class_folders(folder, {base: index}, forced=True)
    if (files := folder.label_files.get(base)) and layout in ("auto", "labels"):
        return _read_labels(folder, index, base, files, layout)
    if (pairs := _pairs(subfolders)) and layout in ("auto", "pairs", "splits"):
        return _read_pairs(folder, pairs, here, subfolders, base, layout, part)
    if part is not None and set(subfolders) >= {"A", "B"}:
        reading = _read_level(folder, subfolders[part], (*base, part), "auto" if layout == "pairs" else layout, None)
        reading.part_used = True
        return reading
    roles = _roles([*subfolders, *(folder.empty_folders(base) if _roles(subfolders) else ())])
    if "train" in roles.values() and len(roles) > 1 and layout in ("auto", "splits", "labels"):
        others = sorted(set(subfolders) - set(roles))
        if layout == "auto" and (others or (here and not _are_strays(len(here), len(index)))):
            beside = f"folders {list_names(others)}" if others else f"{len(here):,} images"
            raise folder.refuse(
                f"the {beside} are beside the splits {list_names(sorted(roles))}",
                [f"layout=splits (without the {beside})", "layout=classes (each folder is a class)", FLAT],
            )
        return _read_splits(folder, roles, here, subfolders, base, layout)
    if layout == "splits" and _have_inner_splits(folder, subfolders, base):
        return _read_inner_splits(folder, subfolders, base)
    if len(subfolders) == 1:
        name = next(iter(subfolders))
        place = (*base, name)
        nested = any(len(folder.names[i]) > len(place) + 1 for i in subfolders[name])
        if layout != "auto" or nested or folder.label_files.get(place):
            if layout == "auto" and here and not _are_strays(len(here), len(index)):
                raise folder.refuse(
                    f"{len(here):,} images are beside the folder {name}",
                    [f"path={folder.path.joinpath(*place)}", "layout=classes (one class)", FLAT],
                )
            reading = _read_level(folder, subfolders[name], place, layout, part)
            _skip(reading, here, f"beside the folder {name}")
            return reading
    if layout in _NEEDS:
        raise DomtransError(f"{folder.path}: layout={layout} needs {_NEEDS[layout]}; there {_describe(subfolders, here)}")
    _refuse_other_layouts(folder, subfolders, roles, base)
    return _read_class_folders(folder, {base: index})


FLAT = "layout=flat (all images, without classes)"

_NEEDS = {
    "splits": "folders train and test (or val)",
    "pairs": "folders such as trainA, trainB, testA and testB",
    "labels": "a label file that names images, such as labels.csv with the columns file and label",
}


def _describe(subfolders: Mapping[str, object], here: Sequence[int]) -> str:
    if not subfolders:
        return f"are {len(here):,} images without subfolders"
    return f"are the folders {list_names(sorted(subfolders))}"


def _refuse_other_layouts(folder: Folder, subfolders: Mapping[str, list[int]], roles: Mapping[str, str], base: Names) -> None:
    """Raise DomtransError for subfolders that may be splits or masks instead of classes."""
    lower = {name.lower() for name in subfolders}
    if set(roles.values()) == {"test", "val"} and len(roles) == len(subfolders):
        raise folder.refuse(
            f"there are {list_names(sorted(roles))}, but no train",
            ["rename one to train", "layout=classes (each is a class)", FLAT],
        )
    nested = [
        name for name in roles if name in subfolders and any(len(folder.names[i]) > len(base) + 2 for i in subfolders[name])
    ]
    if nested and len(subfolders) > 1:
        others = sorted(set(subfolders) - {nested[0]})
        raise folder.refuse(
            f"'{nested[0]}' has class folders like a split, beside {list_names(others)}",
            [f"path={folder.path.joinpath(*base, nested[0])}", "layout=classes (each is a class)", FLAT],
        )
    if lower & IMAGE_FOLDERS and lower & MASK_FOLDERS and lower <= IMAGE_FOLDERS | MASK_FOLDERS:
        images = next(name for name in subfolders if name.lower() in IMAGE_FOLDERS)
        raise folder.refuse(
            f"{list_names(sorted(subfolders))} may be images and their masks",
            [f"path={folder.path.joinpath(*base, images)}", "layout=classes (each is a class)", FLAT],
        )
    if _have_inner_splits(folder, subfolders, base):
        first = min(subfolders)
        two = len(subfolders) == 2
        raise folder.refuse(
            f"each of {list_names(sorted(subfolders))} has its own splits",
            [
                f"path={folder.path.joinpath(*base, first)} (one domain)"
                + (", part=A or part=B" if set(subfolders) == {"A", "B"} else ""),
                f"layout=splits ({'both' if two else 'all'} are classes with these splits)",
                "layout=classes (classes, whose splits are merged)",
            ],
        )


def _roles(subfolders: Iterable[str]) -> dict[str, str]:
    return {name: ROLES[name.lower()] for name in subfolders if name.lower() in ROLES}


def _are_strays(beside: int, total: int) -> bool:
    """Whether so few images are beside folders that they are there by mistake."""
    return beside == 1 < total - 1 or beside <= STRAY_SHARE * total


def _have_inner_splits(folder: Folder, subfolders: Mapping[str, list[int]], base: Names) -> bool:
    """Whether every subfolder has its own train and test (or val), and nothing else."""
    if len(subfolders) < 2:
        return False
    for name, index in subfolders.items():
        here, inner = _below(folder, index, (*base, name))
        roles = _roles(inner)
        if here or len(roles) < len(inner) or "train" not in roles.values() or len(roles) < 2:
            return False
    return True


def _pairs(subfolders: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Subfolders like trainA: their role and part."""
    matches = {name: PAIRED.fullmatch(name) for name in subfolders}
    return {name: (ROLES[match[1].lower()], match[2].upper()) for name, match in matches.items() if match}


def _read_pairs(
    folder: Folder,
    pairs: Mapping[str, tuple[str, str]],
    here: list[int],
    subfolders: Mapping[str, list[int]],
    base: Names,
    layout: Layout,
    part: Part | None,
) -> Reading:
    parts = sorted({letter for _, letter in pairs.values()})
    others = [name for name in subfolders if name not in pairs]
    if layout == "auto" and (others or (here and not _are_strays(len(here), len(folder.names)))):
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
    reading = _read_splits(folder, chosen, [], mine, base, "splits")
    reading.kind = "pairs"
    reading.part_used = True
    _skip(reading, here, "outside the recognised folders")
    for name in others:
        _skip(reading, subfolders[name], f"in {name}, which is no split")
    return reading


def _read_splits(
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
    if any(folder.label_files.get((*base, name)) for name in used):
        files = [file for name in used for file in folder.label_files.get((*base, name), ())]
        reading = _read_labels(folder, [i for name in used for i in subfolders.get(name, ())], base, files, layout, used)
    else:
        reading = _read_class_folders(folder, {(*base, name): subfolders.get(name, []) for name in used})
    reading.kind = "splits"
    if len(used) > 1:
        reading.splits = {i: split for name, split in used.items() for i in subfolders.get(name, ())}
    if "val" in by_role and test == "test":
        _skip(reading, subfolders.get(by_role["val"], ()), f"in {by_role['val']}, as there is also {by_role['test']}")
    _skip(reading, here, "outside the recognised folders")
    for name, index in subfolders.items():
        if name not in roles:
            _skip(reading, index, f"in {name}, which is no split")
    return reading


def _read_inner_splits(folder: Folder, subfolders: Mapping[str, list[int]], base: Names) -> Reading:
    """Classes with a folder for each split, such as cat/train and cat/test."""
    reading = Reading("splits", [], classes=class_list(subfolders))
    for name, index in subfolders.items():
        _, inner = _below(folder, index, (*base, name))
        roles = _roles(inner)
        test = "test" if "test" in roles.values() else "val"
        for inside, role in roles.items():
            if role in ("train", test):
                reading.index += inner[inside]
                reading.splits |= dict.fromkeys(inner[inside], "train" if role == "train" else "test")
                reading.labels |= dict.fromkeys(inner[inside], name)
            else:
                _skip(reading, inner[inside], "in the validation split")
    return reading


def _read_class_folders(folder: Folder, places: Mapping[Names, list[int]], *, forced: bool = False) -> Reading:
    """Class folders in one or several places, such as train and test; flat if there are none.

    Args:
        folder: The folder.
        places: The images by the folder whose subfolders are the classes.
        forced: Whether the user chose class folders.
    """
    here: list[int] = []
    by_class: dict[str, list[int]] = {}
    for place, index in places.items():
        direct, subfolders = _below(folder, index, place)
        here += direct
        for name, members in subfolders.items():
            by_class.setdefault(name, []).extend(members)
    everything = [i for index in places.values() for i in index]
    if not by_class:
        if forced:
            raise DomtransError(f"{folder.path}: layout=classes needs a subfolder for every class, and there is none")
        return Reading("flat", everything)
    notes = []
    vocabulary = next((names for place in places for at in (place, place[:-1]) if (names := folder.vocabulary(at))), ())
    if unknown := sorted(set(by_class) - set(vocabulary)):
        if vocabulary:
            notes.append(f"classes.txt is not used, because it does not name the folders {list_names(unknown)}")
        vocabulary = ()
    empty = {name for place in places for name in folder.empty_folders(place)} - set(by_class)
    if not forced and not vocabulary and len(by_class) + (0 if here else len(empty)) == 1:
        return _read_only_folder(folder, places, next(iter(by_class)), here, everything)
    if here and not (forced or _are_strays(len(here), len(everything))):
        where = ", ".join(sorted({"/".join(place) or "the folder itself" for place in places}))
        raise folder.refuse(
            f"{len(here):,} images are directly in {where}, beside the folders {list_names(sorted(by_class))}",
            [f"layout=classes (without these {len(here):,} images)", FLAT],
        )
    reading = Reading("classes", [i for members in by_class.values() for i in members], notes=notes)
    reading.classes = vocabulary or class_list([*by_class, *empty])
    reading.labels = {i: name for name, members in by_class.items() for i in members}
    if here:
        files = list_names(["/".join(folder.names[i]) for i in here])
        reading.notes.append(f"{len(here):,} {'image' if len(here) == 1 else 'images'} beside the class folders: {files}")
        _skip(reading, here, "beside the class folders")
    return reading


def _read_only_folder(
    folder: Folder, places: Mapping[Names, list[int]], name: str, here: list[int], everything: list[int]
) -> Reading:
    """A single subfolder, of each split: class folders may be inside, else the images have no classes."""
    inside = {(*place, name): _below(folder, index, place)[1].get(name, []) for place, index in places.items()}
    if any(len(folder.names[i]) > len(place) + 1 for place, index in inside.items() for i in index):
        if here and not _are_strays(len(here), len(everything)):
            raise folder.refuse(f"{len(here):,} images are beside the folder {name}", ["layout=classes (one class)", FLAT])
        reading = _read_class_folders(folder, inside)
        _skip(reading, here, f"beside the folder {name}")
        return reading
    reading = Reading("flat", everything)
    if not here:
        reading.notes.append(
            f"all images are in one folder, '{name}', so they have no classes; layout=classes makes it a class"
        )
    return reading


def _read_labels(
    folder: Folder,
    index: list[int],
    base: Names,
    files: Sequence[LabelFile],
    layout: Layout,
    used: Mapping[str, Split] | None = None,
) -> Reading:
    """Images whose classes or attributes are in label files.

    Args:
        folder: The folder.
        index: The images.
        base: The folder of the files, or of the splits that have one each.
        files: A file for all, or for each split.
        layout: "auto" refuses a file that contradicts the folders.
        used: The folders of the splits, if each has its own file.
    """
    notes = [note for file in files for note in file.notes]
    name = files[0].path.name
    roles = _roles_in_files(folder, files) if used is None else {}
    labels = {i: label for file in files for i, label in (file.labels or {}).items() if label}
    labels = {i: labels[i] for i in index if i in labels}
    if not labels:  # only attributes: folders may be classes
        if used is None:
            reading = _read_level(replace(folder, label_files={}), index, base, "auto", None)
        else:
            places = {(*base, each): [i for i in index if folder.names[i][len(base)] == each] for each in used}
            reading = _read_class_folders(folder, places)
        reading.notes += notes
    else:
        depth = len(base) + (used is not None)
        if layout == "auto":
            _refuse_other_labels(folder, len(index), depth, labels, name)
        reading = Reading("labels", list(labels), *_apply_vocabulary(labels, folder.vocabulary(base)), notes=notes)
        _skip(reading, (i for i in index if i not in labels), f"without a label in {name}")
        if used is None and not roles:
            here, subfolders = _below(folder, index, base)
            found = _roles(subfolders)
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
            _skip(reading, [i], "in the validation split" if role else f"in neither split of {name}")
    reading.index = [i for i in reading.index if i in reading.splits]


def _roles_in_files(folder: Folder, files: Sequence[LabelFile]) -> dict[int, str]:
    """The role of every image, from the names of the label files, or from a column. Empty without."""
    if len(files) == 1:
        return {i: role for i, value in files[0].splits.items() if (role := ROLES.get(value.lower()))}
    found = [_role_of_file(file.path) for file in files]
    if None in found or len(set(found)) < len(found) or "train" not in found:
        names = [file.path.name for file in files]
        raise DomtransError(f"{folder.path} has several label files ({list_names(names)}): choose one with labels=NAME")
    return {i: role for file, role in zip(files, found, strict=True) if role for i in file.indices}


def _refuse_other_labels(folder: Folder, count: int, depth: int, labels: Mapping[int, str], name: str) -> None:
    """Raise DomtransError if a label file names few images, or if folders give some of them other classes."""
    only = f"layout=labels (the {len(labels):,} images that {name} names)"
    if 2 * len(labels) < count:
        raise folder.refuse(f"{name} has labels for {len(labels):,} of the {count:,} images", [only, FLAT])
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


def _skip(reading: Reading, index: Iterable[int], reason: str) -> None:
    reading.skipped |= dict.fromkeys(index, reason)
