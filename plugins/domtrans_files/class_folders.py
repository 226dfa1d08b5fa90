"""Reads folders in which every subfolder is a class."""

from __future__ import annotations

from collections.abc import Mapping

from domtrans import DomtransError, class_list, list_names
from domtrans_files.reading import FLAT, Folder, Names, Reading, are_strays, below, skip


def read_class_folders(folder: Folder, places: Mapping[Names, list[int]], *, forced: bool = False) -> Reading:
    """Class folders in one or several places, such as train and test; flat if there are none.

    Args:
        folder: The folder.
        places: The images by the folder whose subfolders are the classes.
        forced: Whether the user chose class folders.
    """
    here: list[int] = []
    by_class: dict[str, list[int]] = {}
    for place, index in places.items():
        direct, subfolders = below(folder, index, place)
        here += direct
        for name, members in subfolders.items():
            by_class.setdefault(name, []).extend(members)
    everything = [i for index in places.values() for i in index]
    if not by_class:
        if forced:
            raise DomtransError(f"{folder.path}: layout=classes needs a subfolder for every class, and there is none")
        return Reading(everything)
    notes = []
    vocabulary = next((names for place in places for at in (place, place[:-1]) if (names := folder.vocabulary(at))), ())
    if unknown := sorted(set(by_class) - set(vocabulary)):
        if vocabulary:
            notes.append(f"classes.txt is not used, because it does not name the folders {list_names(unknown)}")
        vocabulary = ()
    empty = {name for place in places for name in folder.empty_folders(place)} - set(by_class)
    if not forced and not vocabulary and len(by_class) + (0 if here else len(empty)) == 1:
        return _read_only_folder(folder, places, next(iter(by_class)), here, everything)
    if here and not (forced or are_strays(len(here), len(everything))):
        where = ", ".join(sorted({"/".join(place) or "the folder itself" for place in places}))
        raise folder.refuse(
            f"{len(here):,} images are directly in {where}, beside the folders {list_names(sorted(by_class))}",
            [f"layout=classes (without these {len(here):,} images)", FLAT],
        )
    reading = Reading([i for members in by_class.values() for i in members], notes=notes)
    reading.classes = vocabulary or class_list([*by_class, *empty])
    reading.labels = {i: name for name, members in by_class.items() for i in members}
    if here:
        files = list_names(["/".join(folder.names[i]) for i in here])
        reading.notes.append(f"{len(here):,} {'image' if len(here) == 1 else 'images'} beside the class folders: {files}")
        skip(reading, here, "beside the class folders")
    return reading


def _read_only_folder(
    folder: Folder, places: Mapping[Names, list[int]], name: str, here: list[int], everything: list[int]
) -> Reading:
    """A single subfolder, of each split: class folders may be inside, else the images have no classes."""
    inside = {(*place, name): below(folder, index, place)[1].get(name, []) for place, index in places.items()}
    if any(len(folder.names[i]) > len(place) + 1 for place, index in inside.items() for i in index):
        if here and not are_strays(len(here), len(everything)):
            raise folder.refuse(f"{len(here):,} images are beside the folder {name}", ["layout=classes (one class)", FLAT])
        reading = read_class_folders(folder, inside)
        skip(reading, here, f"beside the folder {name}")
        return reading
    reading = Reading(everything)
    if not here:
        reading.notes.append(
            f"all images are in one folder, '{name}', so they have no classes; layout=classes makes it a class"
        )
    return reading
