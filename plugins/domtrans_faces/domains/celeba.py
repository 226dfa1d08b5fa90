"""The domain ``celeba``: photographs with the person as the class, and with the attributes of ``vocabulary.py``."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from domtrans import Attribute, Cache, DomtransError, ImageSet, reason_of
from domtrans_faces.domains.people import Crop, Share, dataset_path
from domtrans_faces.domains.photo_files import Photo, PhotoCrop, find_photos, images_by_person
from domtrans_faces.spacing import evenly_spaced
from domtrans_faces.vocabulary import VOCABULARY

PARTITION, IDENTITY, ATTRIBUTES = "list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt"
IMAGES = "img_align_celeba"

RULES: tuple[tuple[str, str, str], ...] = (
    ("glasses", "yes", "Eyeglasses"),
    ("glasses", "no", "-Eyeglasses"),
    ("facial_hair", "no", "No_Beard -Mustache"),
    ("facial_hair", "yes", "-No_Beard"),
    ("facial_hair", "yes", "Mustache"),
    ("hair_length", "none", "Bald"),
    ("hair_colour", "black", "Black_Hair -Brown_Hair -Blond_Hair -Gray_Hair -Bald"),
    ("hair_colour", "brown", "Brown_Hair -Black_Hair -Blond_Hair -Gray_Hair -Bald"),
    ("hair_colour", "blond", "Blond_Hair -Black_Hair -Brown_Hair -Gray_Hair -Bald"),
    ("hair_colour", "grey", "Gray_Hair -Black_Hair -Brown_Hair -Blond_Hair -Bald"),
    ("hair_style", "curly", "Wavy_Hair -Straight_Hair -Bald"),
    ("hair_style", "straight", "Straight_Hair -Wavy_Hair -Bald"),
    ("mouth", "smile", "Smiling"),
    ("mouth", "open", "-Smiling Mouth_Slightly_Open"),
    ("mouth", "neutral", "-Smiling -Mouth_Slightly_Open"),
    ("skin", "light", "Pale_Skin"),
)
"""Attribute, value, and the CelebA attributes that an image must have, or with "-" must not have; the first match counts."""


def celeba(
    split: Literal["train", "test"],
    size: int,
    *,
    path: str | None = None,
    download: bool = False,
    holdout: Share = 0.2,
    crop: Crop = 1.0,
    landmarks: str | None = None,
    count: PositiveInt | None = 30_000,
) -> ImageSet:
    """CelebA: 202,599 aligned photographs of 10,177 people with attributes; the class is the person.

    RGB, uint8 [N, 3, size, size]. The splits are CelebA's own, which share no person. Its attributes are translated to
    those of avatars and portraits, and are unknown where CelebA has no equivalent (red hair, length of hair).

    Licence: for non-commercial research only. Z. Liu et al.: Deep Learning Face Attributes in the Wild, ICCV 2015.

    Args:
        path: The folder celeba in torchvision's layout, or a folder or zip with one folder of images per person, then
            without attributes; by default ``datasets/celeba`` in the cache.
        download: Download it with torchvision; needs the package gdown.
        holdout: Share of the people in the test split, for folders of people.
        crop: Side of the square that is kept, as a share of the photograph's.
        landmarks: File of landmarks, as for lfw; CelebA's own is list_landmarks_align_celeba.txt.
        count: Largest number of photographs in both splits together, evenly spaced over all.

    Raises:
        DomtransError: If the photographs are missing or cannot be read.
    """
    if download:
        download_celeba(Path(path) if path is not None else Cache().folder / "datasets" / "celeba")
    root = dataset_path(path, "celeba", f"CelebA ({IMAGES}, {PARTITION}, {IDENTITY}, {ATTRIBUTES})")
    crop_to = PhotoCrop(size, crop, landmarks)
    if not (root / PARTITION).is_file():
        return images_by_person(find_photos(root, count), split, holdout, crop_to, f"celeba {root}")
    return load_official(root, split, crop_to, count)


def load_official(root: Path, split: str, crop: PhotoCrop, count: int | None) -> ImageSet:
    """CelebA in its original files; without labels or attributes if their file is missing."""
    part = 0 if split == "train" else 2  # 1 is the validation split
    names = [name for name, (own,) in evenly_spaced(list(read_list(root / PARTITION).rows.items()), count) if own == part]
    if not names:
        raise DomtransError(f"{root / PARTITION} has no photographs in the {split} split with count={count}; raise count")
    photos = [Photo("", name, (root / IMAGES / name).read_bytes) for name in names]
    attributes = attributes_of(names, read_list(root / ATTRIBUTES)) if (root / ATTRIBUTES).is_file() else {}
    labels, classes = people_of(names, read_list(root / IDENTITY)) if (root / IDENTITY).is_file() else (None, ())
    about = f"celeba {root}, {split} split, {len(photos):,} photographs"
    return ImageSet(crop.load(photos), labels, classes, about, attributes)


@dataclass(frozen=True)
class CelebaList:
    """One of CelebA's lists: the numbers of every image, and the names of the columns if there are several."""

    path: Path
    header: list[str]
    rows: dict[str, list[int]]

    def __getitem__(self, name: str) -> list[int]:
        """The numbers of an image; DomtransError if there are none."""
        if name not in self.rows:
            raise DomtransError(f"{self.path} has no line for {name}; all lists must belong to the same version of CelebA")
        return self.rows[name]


def read_list(path: Path) -> CelebaList:
    """Read one of CelebA's lists; DomtransError if it is damaged."""
    table = CelebaList(path, [], {})
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            name, *numbers = line.split() or [""]
            if PurePosixPath(name).suffix:
                table.rows[name] = [int(number) for number in numbers]
            else:
                table.header[:] = line.split()
    except (OSError, ValueError) as error:
        raise DomtransError(f"{path} cannot be read as a CelebA list: {error}") from None
    columns = len(table.header) or 1
    if not table.rows or any(len(row) != columns for row in table.rows.values()):
        raise DomtransError(f"{path} is not a CelebA list: every line needs the name of an image and {columns} numbers")
    return table


def people_of(names: Sequence[str], identity: CelebaList) -> tuple[Tensor, tuple[str, ...]]:
    """Labels, int64 [N], and the people of all splits, so that a person has the same number in every split."""
    classes = sorted({row[0] for row in identity.rows.values()})
    numbers = {person: number for number, person in enumerate(classes)}
    return torch.tensor([numbers[identity[name][0]] for name in names]), tuple(map(str, classes))


def attributes_of(names: Sequence[str], table: CelebaList) -> dict[str, Attribute]:
    """CelebA's attributes in our vocabulary; -1 where they determine no value."""
    present = [{column for column, sign in zip(table.header, table[name], strict=True) if sign > 0} for name in names]
    return {
        attribute: Attribute(VOCABULARY[attribute], torch.tensor([value_of(attribute, columns) for columns in present]))
        for attribute in dict.fromkeys(attribute for attribute, _, _ in RULES)
    }


def value_of(attribute: str, present: Container[str]) -> int:
    """Index in the vocabulary of the first value whose rule matches, else -1."""
    for name, value, rule in RULES:
        if name == attribute and all((word.lstrip("-") in present) != word.startswith("-") for word in rule.split()):
            return VOCABULARY[name].index(value)
    return -1


def download_celeba(root: Path) -> None:
    """Download CelebA with torchvision; any failure becomes a DomtransError."""
    from torchvision.datasets import CelebA

    if root.name != "celeba":
        raise DomtransError(f"torchvision downloads CelebA into a folder named celeba; set path to one, not to {root}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        CelebA(str(root.parent), download=True)
    except Exception as error:  # noqa: BLE001 - network, archive and disk errors have many classes
        reason = reason_of(error)
        raise DomtransError(f"celeba could not be downloaded to {root}: {reason}; offline, use 'portraits'") from None
