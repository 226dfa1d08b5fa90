"""Read photographs of people, with the person as the class, from a folder, a zip or a TSV file."""

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
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from domtrans import Attribute, DomtransError, ImageSet, decode_image, find_images, image_suffixes
from domtrans_faces.domains.alignment import Points, align, landmarks_of, read_landmarks
from domtrans_faces.spacing import evenly_spaced

MAX_PHOTO_BYTES = 32 * 2**20
"""Largest encoded photograph that is read."""


@dataclass(frozen=True)
class Photo:
    """A photograph: its person, its name, and a function that reads its encoded bytes."""

    person: str
    name: str
    read: Callable[[], bytes]


def find_photos(path: Path, count: int | None) -> list[Photo]:
    """At most ``count`` photographs, evenly spaced over a folder or zip, or the first ones of a TSV file.

    A folder or zip has one subfolder per person, named after the person.

    Raises:
        DomtransError: If the path does not exist or has no photographs.
    """
    if path.is_dir():
        photos = evenly_spaced(list(photos_in_folder(path)), count)
    elif not path.is_file():
        raise DomtransError(f"there is no folder or file {path}")
    elif path.suffix.lower() == ".tsv":
        photos = list(islice(photos_in_tsv(path), count))
    else:
        photos = evenly_spaced(list(photos_in_zip(path)), count)
    if not photos:
        raise DomtransError(f"there are no photographs in {path}; it needs one folder of photographs per person")
    return photos


def photos_in_folder(root: Path) -> Iterator[Photo]:
    """The image files in the folders below ``root``; the folder is the person."""
    for path in find_images(root):
        if path.parent != root:
            yield Photo(path.parent.name, path.relative_to(root).as_posix(), path.read_bytes)


def photos_in_zip(path: Path) -> Iterator[Photo]:
    """The image files in the folders of a zip. Nothing is extracted to disk, so that no name can escape a folder."""
    try:
        archive = zipfile.ZipFile(path)
        members = [PurePosixPath(name) for name in sorted(archive.namelist())]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise DomtransError(f"{path} cannot be read as a zip: {error}") from None
    suffixes = image_suffixes()
    for member in members:
        hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in member.parts)
        if member.suffix.lower() in suffixes and member.parent.name and not hidden:
            yield Photo(member.parent.name, str(member), partial(read_zip_member, archive, str(member)))


def read_zip_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a file in a zip; limited in size, against zip bombs."""
    try:
        with archive.open(name) as file:
            content = file.read(MAX_PHOTO_BYTES + 1)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError, KeyError) as error:
        raise DomtransError(f"{name} in {archive.filename} cannot be read: {error}") from None
    if len(content) > MAX_PHOTO_BYTES:
        raise DomtransError(
            f"{name} in {archive.filename} is larger than {MAX_PHOTO_BYTES:,} bytes when unpacked, too large for a photograph"
        )
    return content


def photos_in_tsv(path: Path) -> Iterator[Photo]:
    """The photographs of an MS-Celeb-1M TSV file: the person's id is the first column, the base64 photograph the last."""
    try:
        with path.open(encoding="ascii") as file:
            for number, line in enumerate(iter(lambda: file.readline(2 * MAX_PHOTO_BYTES), ""), 1):
                person, tab, columns = line.rstrip("\n").partition("\t")
                if not tab or not person:
                    raise DomtransError(
                        f"line {number} of {path} needs a person's id, a tab, and a photograph in the last column"
                    )
                name = f"{person}/{number:08d}"
                yield Photo(person, name, partial(decode_base64, columns.rpartition("\t")[2], f"{name} in {path}"))
    except (OSError, UnicodeDecodeError) as error:
        raise DomtransError(f"{path} cannot be read: {error}") from None


def decode_base64(text: str, name: str) -> bytes:
    """The bytes of a photograph in a TSV file."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DomtransError(f"the photograph {name} cannot be read: {error}") from None


def in_test_split(person: str, share: float) -> bool:
    """Whether a person belongs to the test split; this depends on the name only, not on the other people."""
    number = int.from_bytes(hashlib.sha256(person.encode(errors="surrogateescape")).digest()[:8])
    return number < share * 2**64


@dataclass(frozen=True)
class PhotoCrop:
    """How photographs are cropped to ``size`` x ``size`` pixels: around the centre, or aligned by landmarks.

    Attributes:
        size: Side of the result, in pixels.
        crop: Side of the square that is kept, as a share of the whole.
        landmarks: Path of a file of landmarks; None to crop around the centre.
    """

    size: int
    crop: float = 1.0
    landmarks: str | None = None

    def load(self, photos: Sequence[Photo]) -> Tensor:
        """The photographs, uint8 [N, 3, size, size]; DomtransError if one cannot be read."""
        landmarks = None if self.landmarks is None else read_landmarks(Path(self.landmarks))
        images = np.empty((len(photos), self.size, self.size, 3), np.uint8)
        for pixels, photo in zip(images, photos, strict=True):
            pixels[...] = np.asarray(self._load_one(photo, landmarks))
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _load_one(self, photo: Photo, landmarks: Mapping[str, Points] | None) -> Image.Image:
        try:
            encoded = photo.read()
        except OSError as error:
            raise DomtransError(f"{photo.name} cannot be read: {error.strerror or error}") from None
        image = decode_image(io.BytesIO(encoded), photo.name).convert("RGB")
        if landmarks is not None:
            image = align(image, landmarks_of(photo.name, landmarks), round(self.size / self.crop))
        return ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR, bleed=(1 - self.crop) / 2)


def images_by_person(
    photos: Sequence[Photo],
    split: Literal["train", "test"],
    holdout: float,
    crop: PhotoCrop,
    about: str,
    attributes_of: Callable[[Sequence[str]], dict[str, Attribute]] = lambda names: {},
) -> ImageSet:
    """The photographs of the people of one split; the class is the person.

    Args:
        photos: Photographs of both splits.
        split: "train" or "test".
        holdout: Share of the people in the test split.
        crop: How the photographs are cropped.
        about: Description of the data set.
        attributes_of: Attributes of photographs by name.

    Raises:
        DomtransError: If a photograph cannot be read, or the split is empty.
    """
    selected = [photo for photo in photos if in_test_split(photo.person, holdout) == (split == "test")]
    classes = tuple(sorted({photo.person for photo in photos}))
    if not selected:
        raise DomtransError(
            f"{about}: with holdout={holdout}, the {split} split has none of the {len(classes)} people; change holdout"
        )
    numbers = {person: number for number, person in enumerate(classes)}
    labels = torch.tensor([numbers[photo.person] for photo in selected])
    people = len(set(labels.tolist()))
    about = f"{about}, {split} split, {len(selected):,} photographs of {people:,} people"
    return ImageSet(crop.load(selected), labels, classes, about, attributes_of([photo.name for photo in selected]))
