"""The domains ``lfw`` and ``ms-celeb``: photographs with the person as the class; no person is in both splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from domtrans import Cache, DomtransError, ImageSet
from domtrans_faces.domains.lfw_labels import attributes_of
from domtrans_faces.domains.photo_files import PhotoCrop, find_photos, images_by_person

Share = Annotated[float, Field(gt=0, le=1)]
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

    RGB, uint8 [N, 3, size, size]. The original download no longer exists; any copy works: a folder or zip with one folder
    of images per person. The photographs that this project has labelled, found by file name, have attributes.

    Licence: for research; the photographs belong to news agencies. G. Huang et al.: Labeled Faces in the Wild, University of
    Massachusetts, Technical Report 07-49, 2007.

    Args:
        path: The folder or zip; by default ``datasets/lfw`` in the cache.
        holdout: Share of the people in the test split, selected by a hash of the name.
        crop: Side of the square that is kept, as a share of the photograph's.
        landmarks: File with one line per image: its name, and x and y of both eyes, the nose and both corners of the mouth.
            Faces are then aligned to ArcFace's 112 x 112 template.
        count: Largest number of photographs, evenly spaced over all.

    Raises:
        DomtransError: If the photographs are missing or cannot be read.
    """
    root = dataset_path(path, "lfw", "Labeled Faces in the Wild, a folder or zip with one folder of images per person,")
    crop_to = PhotoCrop(size, crop, landmarks)
    return images_by_person(find_photos(root, count), split, holdout, crop_to, f"lfw {root}", attributes_of)


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
    """MS-Celeb-1M, for those who have a copy: photographs by person, in Microsoft's TSV files or in folders.

    RGB, uint8 [N, 3, size, size]. Microsoft withdrew the data set in 2019, because the people in it had not been asked.
    Nothing here downloads it, and you need a reason and the right to use it. The study used 912,224 of its photographs,
    cropped and aligned.

    Licence: withdrawn; it was for non-commercial research. Y. Guo et al.: MS-Celeb-1M, ECCV 2016.

    Args:
        path: A .tsv file (id of the person in the first column, base64 photograph in the last), or a folder or zip with
            one folder of images per person; by default ``datasets/ms-celeb`` in the cache.
        holdout: Share of the people in the test split, selected by a hash of the id.
        crop: Side of the square that is kept, as a share of the photograph's.
        landmarks: File of landmarks, as for lfw.
        count: Largest number of photographs in both splits together: evenly spaced over all, or the first ones of a TSV
            file.

    Raises:
        DomtransError: If the photographs are missing or cannot be read.
    """
    root = dataset_path(path, "ms-celeb", "MS-Celeb-1M (withdrawn by Microsoft), a .tsv file or a folder with one per person,")
    crop_to = PhotoCrop(size, crop, landmarks)
    return images_by_person(find_photos(root, count), split, holdout, crop_to, f"ms-celeb {root}")


def dataset_path(path: str | None, name: str, content: str) -> Path:
    """The path of a data set; DomtransError if it does not exist."""
    root = Path(path) if path is not None else Cache().folder / "datasets" / name
    if not root.exists():
        raise DomtransError(
            f"the data set {name} is not at {root}: put {content} there, or set its path; offline, use 'portraits'"
        )
    return root
