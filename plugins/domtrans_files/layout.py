"""Recognises how a folder of images is organised, from the names of its files alone.

Nothing is guessed: a folder that can be read in several ways is refused, with the ways to choose from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from domtrans import DomtransError, list_names, natural_key
from domtrans_files.class_folders import read_class_folders
from domtrans_files.labelled import read_labelled
from domtrans_files.reading import FLAT, Folder, Layout, Names, Part, Reading, are_strays, below, roles_of, skip
from domtrans_files.split_folders import find_pairs, have_inner_splits, read_inner_splits, read_pairs, read_splits

IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "jpegimages"})

MASK_FOLDERS = frozenset({"mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "seg", "labels"})
"""Names of folders that hold images and their masks, which are not classes."""

_NEEDS = {
    "splits": "folders train and test (or val)",
    "pairs": "folders such as trainA, trainB, testA and testB",
    "labels": "a label file that names images, such as labels.csv with the columns file and label",
}


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
        reading = Reading(everything)
    elif layout == "classes":
        reading = read_class_folders(folder, {(): everything}, forced=True)
    else:
        reading = _read_level(folder, everything, (), layout, part)
    if part is not None and not reading.part_used:
        raise DomtransError(
            f"{folder.path}: part={part} chooses between two domains in one folder, such as trainA and trainB, which are "
            "missing here; remove part"
        )
    reading.index.sort(key=lambda i: natural_key("/".join(folder.names[i])))
    return reading


def _read_level(  # noqa: PLR0911 - one return for each layout
    folder: Folder, index: list[int], base: Names, layout: Layout, part: Part | None
) -> Reading:
    """Recognise a folder below the root; descends while there is only one subfolder with images."""
    here, subfolders = below(folder, index, base)
    vocabulary = folder.vocabulary(base)
    if layout == "auto" and vocabulary and subfolders and not here and set(subfolders) <= set(vocabulary):
        return read_class_folders(folder, {base: index}, forced=True)
    if (files := folder.label_files.get(base)) and layout in ("auto", "labels"):
        without_files = replace(folder, label_files={})
        return read_labelled(folder, index, base, files, layout, lambda: _read_level(without_files, index, base, "auto", None))
    if (pairs := find_pairs(subfolders)) and layout in ("auto", "pairs", "splits"):
        return read_pairs(folder, pairs, here, subfolders, base, layout, part)
    if part is not None and set(subfolders) >= {"A", "B"}:
        reading = _read_level(folder, subfolders[part], (*base, part), "auto" if layout == "pairs" else layout, None)
        reading.part_used = True
        return reading
    roles = roles_of([*subfolders, *(folder.empty_folders(base) if roles_of(subfolders) else ())])
    if "train" in roles.values() and len(roles) > 1 and layout in ("auto", "splits", "labels"):
        others = sorted(set(subfolders) - set(roles))
        if layout == "auto" and (others or (here and not are_strays(len(here), len(index)))):
            beside = f"folders {list_names(others)}" if others else f"{len(here):,} images"
            raise folder.refuse(
                f"the {beside} are beside the splits {list_names(sorted(roles))}",
                [f"layout=splits (without the {beside})", "layout=classes (each folder is a class)", FLAT],
            )
        return read_splits(folder, roles, here, subfolders, base, layout)
    if layout == "splits" and have_inner_splits(folder, subfolders, base):
        return read_inner_splits(folder, subfolders, base)
    if len(subfolders) == 1:
        name = next(iter(subfolders))
        place = (*base, name)
        nested = any(len(folder.names[i]) > len(place) + 1 for i in subfolders[name])
        if layout != "auto" or nested or folder.label_files.get(place):
            if layout == "auto" and here and not are_strays(len(here), len(index)):
                raise folder.refuse(
                    f"{len(here):,} images are beside the folder {name}",
                    [f"path={folder.path.joinpath(*place)}", "layout=classes (one class)", FLAT],
                )
            reading = _read_level(folder, subfolders[name], place, layout, part)
            skip(reading, here, f"beside the folder {name}")
            return reading
    if layout in _NEEDS:
        raise DomtransError(f"{folder.path}: layout={layout} needs {_NEEDS[layout]}; there {_describe(subfolders, here)}")
    _refuse_other_layouts(folder, subfolders, roles, base)
    return read_class_folders(folder, {base: index})


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
    inner = {frozenset(below(folder, index, (*base, name))[1]) for name, index in subfolders.items()}
    if len(subfolders) > 1 and len(inner) == 1 and len(names := inner.pop()) > 1 and not roles_of(names):
        raise folder.refuse(
            f"each of {list_names(sorted(subfolders, key=natural_key))} has the folders "
            f"{list_names(sorted(names, key=natural_key))}, so either may be the classes",
            [
                f"layout=classes ({list_names(sorted(subfolders, key=natural_key))} are the classes)",
                f"path={folder.path.joinpath(*base, min(subfolders))} (one of them)",
                FLAT,
            ],
        )
    if have_inner_splits(folder, subfolders, base):
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
