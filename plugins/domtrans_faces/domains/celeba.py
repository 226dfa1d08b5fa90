"""The domain ``celeba``: photographs with the person as the class, and with attributes in the words of ``vocabulary.py``."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from domtrans import Attribute, Cache, DomtransError, ImageSet
from domtrans_faces.domains.people import Crop, Share, find
from domtrans_faces.domains.photo_files import Photo, View, by_person, find_photos, thinned
from domtrans_faces.vocabulary import VOCABULARY

PARTITION, IDENTITY, ATTRIBUTES = "list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt"
LANDMARKS, PICTURES = "list_landmarks_align_celeba.txt", "img_align_celeba"

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
"""An attribute has a value where all these of CelebA's 40 are said of the picture (-: denied); the first rule that fits."""


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

    Train and test are CelebA's own, which share nobody. Its attributes are put into the words that avatars and portraits use,
    and are unknown where it has none for them (red hair, the length of hair that there is).

    ``path``: the folder celeba as torchvision has it, or a folder or zip with a folder of pictures for every person, without
    attributes; ``datasets/celeba`` in the cache if it is not given. ``download``: let torchvision fetch it, where the package
    gdown is installed. ``holdout``: of folders of people, the share of the people that is the test split. ``crop``: side of
    the middle square that is kept, as a share of the picture's. ``landmarks``: a file of them, as for lfw; CelebA's own is
    list_landmarks_align_celeba.txt. ``count``: photographs at most, evenly over all, of both splits together.
    Raises DomtransError if they are not there or cannot be read.

    Licence: for non-commercial research only. Z. Liu et al.: Deep Learning Face Attributes in the Wild, ICCV 2015.
    """
    if download:
        fetch(Path(path) if path is not None else Cache().folder / "datasets" / "celeba")
    place = find(path, "celeba", f"CelebA ({PICTURES}, {PARTITION}, {IDENTITY}, {ATTRIBUTES})")
    if not (place / PARTITION).is_file():
        return by_person(find_photos(place, count), split, holdout, View(size, crop, landmarks), f"celeba {place}")
    return official(place, split, View(size, crop, landmarks), count)


def official(place: Path, split: str, view: View, count: int | None) -> ImageSet:
    """CelebA in the files that it came in; without labels or attributes where their file is not there."""
    wanted = 0 if split == "train" else 2  # 1 is for validation
    names = [name for name, (part,) in thinned(list(read_table(place / PARTITION).rows.items()), count) if part == wanted]
    if not names:
        raise DomtransError(f"{place / PARTITION} leaves no photographs for the {split} split with count={count}; raise count")
    photos = [Photo("", name, (place / PICTURES / name).read_bytes) for name in names]
    attributes = attributes_of(names, read_table(place / ATTRIBUTES)) if (place / ATTRIBUTES).is_file() else {}
    labels, classes = people_of(names, read_table(place / IDENTITY)) if (place / IDENTITY).is_file() else (None, ())
    about = f"celeba {place}, {split} split, {len(photos):,} photographs"
    return ImageSet(view.pixels(photos), labels, classes, about, attributes)


@dataclass(frozen=True)
class Table:
    """One of CelebA's lists: the numbers of every picture, and what they stand for where there are several."""

    path: Path
    header: list[str]
    rows: dict[str, list[int]]

    def __getitem__(self, name: str) -> list[int]:
        """The numbers of a picture; DomtransError if there are none."""
        if name not in self.rows:
            raise DomtransError(f"{self.path} says nothing of {name}; its lists must be of one edition")
        return self.rows[name]


def read_table(path: Path) -> Table:
    """A list of CelebA's; raises DomtransError for one that is damaged."""
    table = Table(path, [], {})
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            name, *numbers = line.split() or [""]
            if PurePosixPath(name).suffix:
                table.rows[name] = [int(number) for number in numbers]
            else:
                table.header[:] = line.split()
    except (OSError, ValueError) as error:
        raise DomtransError(f"{path} cannot be read as a list of CelebA's: {error}") from None
    columns = len(table.header) or 1
    if not table.rows or any(len(row) != columns for row in table.rows.values()):
        raise DomtransError(f"{path} is no list of CelebA's: every line needs a picture's name and {columns} numbers")
    return table


def people_of(names: Sequence[str], identity: Table) -> tuple[Tensor, tuple[str, ...]]:
    """Labels int64 [N], and the people of all CelebA, so that a person has one number in every split."""
    classes = sorted({row[0] for row in identity.rows.values()})
    numbers = {person: number for number, person in enumerate(classes)}
    return torch.tensor([numbers[identity[name][0]] for name in names]), tuple(map(str, classes))


def attributes_of(names: Sequence[str], table: Table) -> dict[str, Attribute]:
    """CelebA's attributes in our words; -1 where it says nothing that there is a word for."""
    said = [{word for word, sign in zip(table.header, table[name], strict=True) if sign > 0} for name in names]
    return {
        attribute: Attribute(VOCABULARY[attribute], torch.tensor([value_of(attribute, words) for words in said]))
        for attribute in dict.fromkeys(attribute for attribute, _, _ in RULES)
    }


def value_of(attribute: str, said: Container[str]) -> int:
    """The place in the vocabulary of the first value whose rule fits, else -1."""
    for name, value, rule in RULES:
        if name == attribute and all((word.lstrip("-") in said) != word.startswith("-") for word in rule.split()):
            return VOCABULARY[name].index(value)
    return -1


def fetch(place: Path) -> None:
    """Let torchvision download CelebA; its failures become one sentence."""
    from torchvision.datasets import CelebA

    if place.name != "celeba":
        raise DomtransError(f"torchvision downloads CelebA into a folder named celeba; set path to one, not to {place}")
    try:
        place.mkdir(parents=True, exist_ok=True)
        CelebA(str(place.parent), download=True)
    except Exception as error:  # noqa: BLE001 - network, archive and disk faults come in many classes
        reason = " ".join(str(error).split())[:160]
        raise DomtransError(f"the data set celeba could not be had in {place}: {reason}; offline, use 'portraits'") from None
