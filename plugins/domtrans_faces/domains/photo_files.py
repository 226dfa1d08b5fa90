"""Photographs of people, in folders, in a zip or in a TSV file: who is on them, and their pixels."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from domtrans import Attribute, DomtransError, ImageSet, decode_picture, find_pictures
from domtrans_faces.domains.alignment import Points, align, landmarks_of, read_landmarks

LARGEST = 32 * 2**20
"""Bytes of an encoded photograph that are read."""

ENDINGS = (".jpg", ".jpeg", ".png")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Photo:
    """One photograph: who is on it, what it is called, and how its encoded bytes are had."""

    person: str
    name: str
    read: Callable[[], bytes]


def find_photos(path: Path, count: int | None) -> list[Photo]:
    """At most ``count`` photographs, evenly over what a folder or zip holds, or the first of a TSV file.

    Every person has a folder, named after them. Raises DomtransError if there is no such thing or nothing in it.
    """
    if path.is_dir():
        photos = thinned(list(in_folder(path)), count)
    elif not path.is_file():
        raise DomtransError(f"there is no folder or file {path}")
    elif path.suffix.lower() == ".tsv":
        photos = list(islice(in_tsv(path), count))
    else:
        photos = thinned(list(in_zip(path)), count)
    if not photos:
        raise DomtransError(f"there are no photographs in {path}; each must lie in a folder that stands for a person")
    return photos


def in_folder(root: Path) -> Iterator[Photo]:
    """Every picture in a folder below ``root``, which is the person's."""
    for path in find_pictures(root):
        if path.parent != root:
            yield Photo(path.parent.name, path.relative_to(root).as_posix(), path.read_bytes)


def in_zip(path: Path) -> Iterator[Photo]:
    """Every picture in a folder of a zip. Nothing is unpacked on the disk, so no name in it can lead anywhere."""
    try:
        archive = zipfile.ZipFile(path)
        members = [PurePosixPath(name) for name in sorted(archive.namelist())]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise DomtransError(f"{path} cannot be read as a zip: {error}") from None
    for member in members:
        hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in member.parts)
        if member.suffix.lower() in ENDINGS and member.parent.name and not hidden:
            yield Photo(member.parent.name, str(member), partial(read_member, archive, str(member)))


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file in a zip, if it is not large enough to be an attack."""
    try:
        with archive.open(name) as file:
            content = file.read(LARGEST + 1)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError, KeyError) as error:
        raise DomtransError(f"{name} in {archive.filename} cannot be read: {error}") from None
    if len(content) > LARGEST:
        raise DomtransError(f"{name} in {archive.filename} unpacks to more than {LARGEST:,} bytes, too many for a photograph")
    return content


def in_tsv(path: Path) -> Iterator[Photo]:
    """The lines of MS-Celeb-1M's TSV files: the person's id first, the photograph in base64 last."""
    try:
        with path.open(encoding="ascii") as file:
            for number, line in enumerate(iter(lambda: file.readline(2 * LARGEST), ""), 1):
                person, tab, rest = line.rstrip("\n").partition("\t")
                if not tab or not person:
                    raise DomtransError(f"line {number} of {path} is not a person's id, a tab, and columns up to a photograph")
                name = f"{person}/{number:08d}"
                yield Photo(person, name, partial(from_base64, rest.rpartition("\t")[2], f"{name} in {path}"))
    except (OSError, UnicodeDecodeError) as error:
        raise DomtransError(f"{path} cannot be read: {error}") from None


def from_base64(text: str, name: str) -> bytes:
    """The bytes that stand in a TSV file."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DomtransError(f"the photograph {name} cannot be read: {error}") from None


def thinned(items: Sequence[Item], count: int | None) -> list[Item]:
    """At most ``count`` of the items, evenly spread."""
    count = len(items) if count is None else min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def held_out(person: str, share: float) -> bool:
    """Whether a person belongs to the test split: settled by their name alone, whoever else there is."""
    number = int.from_bytes(hashlib.sha256(person.encode(errors="surrogateescape")).digest()[:8])
    return number < share * 2**64


@dataclass(frozen=True)
class View:
    """How a photograph becomes an image of ``size`` x ``size`` pixels: its middle, or the face as its landmarks show it.

    ``crop``: side of what is kept, as a share of the whole. ``landmarks``: a file of them.
    """

    size: int
    crop: float = 1.0
    landmarks: str | None = None

    def pixels(self, photos: Sequence[Photo]) -> Tensor:
        """uint8 [N, 3, size, size]; raises DomtransError for a photograph that cannot be read."""
        known = None if self.landmarks is None else read_landmarks(Path(self.landmarks))
        images = np.empty((len(photos), self.size, self.size, 3), np.uint8)
        for place, photo in zip(images, photos, strict=True):
            place[...] = np.asarray(self._square(photo, known))
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _square(self, photo: Photo, known: Mapping[str, Points] | None) -> Image.Image:
        try:
            encoded = photo.read()
        except OSError as error:
            raise DomtransError(f"{photo.name} cannot be read: {error.strerror or error}") from None
        image = decode_picture(io.BytesIO(encoded), photo.name).convert("RGB")
        if known is not None:
            image = align(image, landmarks_of(photo.name, known), round(self.size / self.crop))
        return ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR, bleed=(1 - self.crop) / 2)


def by_person(
    photos: Sequence[Photo],
    split: Literal["train", "test"],
    holdout: float,
    view: View,
    about: str,
    attributes_of: Callable[[Sequence[str]], dict[str, Attribute]] = lambda names: {},
) -> ImageSet:
    """The photographs of a split's people as images; the class is the person. ``about``: what they are.

    ``attributes_of``: what is known of photographs by their names, where something is.
    Raises DomtransError for a photograph that cannot be read, and if nobody is left.
    """
    chosen = [photo for photo in photos if held_out(photo.person, holdout) == (split == "test")]
    classes = tuple(sorted({photo.person for photo in photos}))
    if not chosen:
        raise DomtransError(f"{about}: holdout={holdout} leaves none of {len(classes)} people for the {split} split; change it")
    numbers = {person: number for number, person in enumerate(classes)}
    labels = torch.tensor([numbers[photo.person] for photo in chosen])
    people = len(set(labels.tolist()))
    about = f"{about}, {split} split, {len(chosen):,} photographs of {people:,} people"
    return ImageSet(view.pixels(chosen), labels, classes, about, attributes_of([photo.name for photo in chosen]))
