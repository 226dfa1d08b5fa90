"""Data that Python code passes to ``train`` and ``evaluate``: arrays, lists of images, data sets of torch and Hugging Face."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch

from domtrans.data.classes import align_labels, class_list, list_names
from domtrans.data.image_set import ImageSet
from domtrans.data.python_sets import read_set
from domtrans.data.splits import class_notes, hold_out
from domtrans.data.value_range import check_range
from domtrans.errors import DomtransError
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry

NAME = "python"
"""Name of the domain in recipes."""
HOLDOUT = 0.125
"""Share of every class that is the test split, as in the domain ``arrays``."""

TEST_NAMES = ("test", "validation", "valid", "val")
"""Names of the test split in a mapping; the first that occurs is used."""


@dataclass(frozen=True)
class PythonData:
    """The two splits of a domain, and the part that stands for them in a recipe.

    Attributes:
        train: Training images; None if there are only test images.
        test: Test images.
        part: The domain in the recipe: its fingerprint, and what it was in words.
    """

    train: ImageSet | None
    test: ImageSet
    part: Part


def python_data(split: str, size: int, *, fingerprint: str, about: str = "") -> NoReturn:
    """Images that Python code passed to ``train`` or ``evaluate``. The recipe alone cannot repeat them.

    Args:
        split: "train" or "test".
        size: Side of the images in pixels.
        fingerprint: Fingerprint of the images.
        about: How many they were, and of which classes.

    Raises:
        DomtransError: Always. The images are there only during the call that they were passed to.
    """
    raise DomtransError(
        f"these images were passed from Python ({about}), so the recipe alone cannot repeat them; pass them again: "
        "train(..., source=X, target=Y), or source=X and target=Y of evaluate"
    )


def is_data(value: Any) -> bool:
    """Whether a value for source or target is data, and not a part, its name, or its table."""
    return not (value is None or isinstance(value, str | Part) or (isinstance(value, Mapping) and is_part_table(value)))


def is_part_table(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a part or options of one: ``{"name": "folder", "path": ...}``."""
    return not value or not set(value) <= {"train", "value_range", *TEST_NAMES}


def read_data(data: Any, size: int, where: str, *, split_only: Part | None = None) -> PythonData:
    """Read data that Python code passed.

    Args:
        data: An ImageSet; arrays or tensors [N, H, W], [N, H, W, C] or [N, C, H, W]; a list of images; a map-style Dataset
            of torch; a Dataset of Hugging Face; a pair of images and labels; or ``{"train": X, "test": Y}`` of these, where
            "value_range": (low, high) states the values of black and white.
        size: Side of the images in pixels.
        where: "source" or "target", for messages.
        split_only: Take all images of a set without splits as test images, unless it is split into the data of this part.
            None: an eighth of every class is the test split.

    Raises:
        DomtransError: For other data, or for values whose range is not clear.
    """
    stated = None
    splits: dict[str, Any] = {}
    extra: list[str] = []
    if isinstance(data, Mapping):
        if data.get("value_range") is not None:
            stated = check_range(data["value_range"], f'"value_range" of the {where}')
        splits, extra = _splits_of(data, where)
    train: ImageSet | None
    if splits:
        sets = {name: read_set(value, size, f"{name} split of the {where}", stated) for name, value in splits.items()}
        train, test = _same_form(sets, where) if "test" in sets else _split(sets["train"], where)
    else:
        whole = read_set(data, size, where, stated)
        train, test = (None, whole) if split_only and not _can_split(whole) else _split(whole, where)
        if split_only and (train is None or _part(train, test) != split_only):
            train, test = None, whole
    notes = [f"the {list_names(extra)} split was not used"] if extra else []
    if train is not None:
        if splits and train.labels is not None and test.labels is not None:
            notes += _notes_of_splits(train, test)
        train = replace(train, notes=(*train.notes, *notes))
    test = replace(test, notes=(*test.notes, *notes))
    return PythonData(train, test, _part(train, test))


def with_data(registry: Registry, data: Sequence[PythonData]) -> Registry:
    """A copy of a registry in which the domain "python" has the images of ``data`` too."""
    before = registry.get("domain", NAME).factory if NAME in registry.names("domain") else python_data
    known = {one.part.options["fingerprint"]: one for one in data}

    def load(split: str, size: int, *, fingerprint: str, about: str = "") -> ImageSet:
        one = known.get(fingerprint)
        if one is None:
            earlier: ImageSet = before(split, size, fingerprint=fingerprint, about=about)
            return earlier
        images = one.test if split == "test" else one.train
        if images is None:
            raise DomtransError('there are only test images; pass {"train": X, "test": Y}')
        return images

    load.__doc__ = python_data.__doc__
    return registry.with_part("domain", NAME, load)


def is_here(registry: Registry, part: Part) -> bool:
    """Whether the domain "python" of a registry has the images of a part."""
    try:
        registry.build("domain", part, "test", 0)
    except DomtransError:
        return False
    return True


def _part(train: ImageSet | None, test: ImageSet) -> Part:
    sets = [one for one in (train, test) if one is not None]
    fingerprint = hashlib.sha256(" ".join(one.fingerprint() for one in sets).encode()).hexdigest()[:16]
    count = f"{len(test):,} test images" if train is None else f"{len(train):,} training and {len(test):,} test images"
    classes = sets[0].classes
    of = f" of {len(classes)} classes ({list_names(classes)})" if classes else ""
    return Part(name=NAME, options={"fingerprint": fingerprint, "about": f"{count}{of}, passed from Python"})


# Splits


def _splits_of(data: Mapping[Any, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """The values of "train" and "test", and the names of splits that are not used."""
    found = [name for name in TEST_NAMES if data.get(name) is not None]
    splits = {"train": data.get("train"), "test": data[found[0]] if found else None}
    splits = {name: value for name, value in splits.items() if value is not None}
    if "train" not in splits:
        raise DomtransError(f'the {where} needs training images: pass {{"train": X, "test": Y}}, or X alone')
    return splits, found[1:]


def _can_split(images: ImageSet) -> bool:
    return bool(len(hold_out(_classes_of(images), "test", HOLDOUT)))


def _classes_of(images: ImageSet) -> torch.Tensor:
    """int64 [N], the class of every image; one class without labels."""
    return torch.zeros(len(images), dtype=torch.int64) if images.labels is None else images.labels.cpu()


def _split(images: ImageSet, where: str) -> tuple[ImageSet, ImageSet]:
    """The first images of every class for training, the last for the test."""
    labels = _classes_of(images)
    index = {"train": hold_out(labels, "train", HOLDOUT), "test": hold_out(labels, "test", HOLDOUT)}
    if not len(index["test"]):
        raise DomtransError(
            f'the {where} has too few images to hold out test images of a class; pass {{"train": X, "test": Y}}'
        )
    notes = class_notes(labels, images.classes, index["train"], index["test"], HOLDOUT) if images.classes else []
    images = replace(images, notes=(*images.notes, *notes))
    return images.take(index["train"]), images.take(index["test"])


def _same_form(sets: Mapping[str, ImageSet], where: str) -> tuple[ImageSet, ImageSet]:
    """Training and test images with the same classes and channels; grey ones become as many channels as the others have."""
    train, test = sets["train"], sets["test"]
    channels = {train.channels, test.channels}
    if len(channels - {1}) > 1:
        raise DomtransError(
            f"the training images of the {where} have {train.channels} channels and its test images {test.channels}; give both "
            "the same channels"
        )
    train, test = train.in_channels(max(channels)), test.in_channels(max(channels))
    if train.labels is not None and test.labels is not None and train.classes != test.classes:
        new = set(test.classes) - set(train.classes)
        classes = class_list([*train.classes, *test.classes]) if new else train.classes
        train, test = (
            replace(one, labels=align_labels(one, classes).to(one.pixels.device), classes=classes) for one in (train, test)
        )
    return train, test


def _notes_of_splits(train: ImageSet, test: ImageSet) -> list[str]:
    assert train.labels is not None
    assert test.labels is not None
    labels = torch.cat([train.labels.cpu(), test.labels.cpu()])
    index = torch.arange(len(labels))
    return class_notes(labels, train.classes, index[: len(train)], index[len(train) :], None)
