"""Domains of photographs with the person as the class: ``lfw`` and ``ms-celeb``. Nobody is in both splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from domtrans import Cache, DomtransError, ImageSet
from domtrans_faces.domains.lfw_labels import looks_of
from domtrans_faces.domains.photo_files import View, by_person, find_photos

Share = Annotated[float, Field(gt=0, lt=1)]
Crop = Annotated[float, Field(gt=0, le=1)]


def lfw(
    split: Literal["train", "test"],
    size: int,
    *,
    path: str | None = None,
    holdout: Share = 0.2,
    crop: Crop = 1.0,
    landmarks: str | None = None,
    count: PositiveInt | None = None,
) -> ImageSet:
    """Labeled Faces in the Wild: 13,233 photographs of 5,749 people, or part of them; the class is the person.

    It can no longer be downloaded from where it was published; any copy will do: a folder, or a zip, with a folder of
    pictures for every person. Photographs that this project has labelled carry attributes, found by the names of their files.

    ``path``: the folder or zip; ``datasets/lfw`` in the cache if it is not given. ``holdout``: share of the people, by their
    names, that is the test split. ``crop``: side of the middle square that is kept, as a share of the picture's.
    ``landmarks``: a file with a line for each picture: its name, and x and y of both eyes, the nose and both corners of the
    mouth; faces are brought to ArcFace's 112 x 112 template by them. ``count``: photographs at most, evenly over all.
    Raises DomtransError if they are not there or cannot be read.

    Licence: for research; the photographs are of news agencies. G. Huang et al.: Labeled Faces in the Wild, University of
    Massachusetts, Technical Report 07-49, 2007.
    """
    place = find(path, "lfw", "Labeled Faces in the Wild, a folder or zip with a folder of pictures for every person")
    view = View(size, crop, landmarks)
    return by_person(find_photos(place, count), split, holdout, view, f"lfw {place}", looks_of)


def ms_celeb(
    split: Literal["train", "test"],
    size: int,
    *,
    path: str | None = None,
    holdout: Share = 0.2,
    crop: Crop = 1.0,
    landmarks: str | None = None,
    count: PositiveInt | None = 30_000,
) -> ImageSet:
    """MS-Celeb-1M, for those who have it: photographs by person, in Microsoft's TSV files or in folders.

    Microsoft withdrew it in 2019, for the people on it were never asked; nothing here downloads it, and you need a reason and a
    right to use it. The study took 912,224 of its photographs, cropped and aligned, as faces.

    ``path``: a .tsv file (id of the person first, photograph in base64 last), or a folder or zip with a folder of pictures for
    every person; ``datasets/ms-celeb`` in the cache if it is not given. ``holdout``: share of the people, by their ids, that
    is the test split. ``crop``: side of the middle square that is kept, as a share of the picture's. ``landmarks``: a file of
    them, as for lfw. ``count``: photographs at most, of both splits together, evenly over all, or the first of a TSV file.
    Raises DomtransError if they are not there or cannot be read.

    Licence: withdrawn; it was for non-commercial research. Y. Guo et al.: MS-Celeb-1M, ECCV 2016.
    """
    place = find(path, "ms-celeb", "MS-Celeb-1M, which Microsoft withdrew, a .tsv file or a folder with one for every person")
    return by_person(find_photos(place, count), split, holdout, View(size, crop, landmarks), f"ms-celeb {place}")


def find(path: str | None, name: str, what: str) -> Path:
    """Where a data set is; DomtransError if it is not there."""
    place = Path(path) if path is not None else Cache().folder / "datasets" / name
    if not place.exists():
        raise DomtransError(
            f"the data set {name} is not at {place}: put {what} there, or set its path; offline, use 'portraits'"
        )
    return place
