"""Reads images and labels from .npz and .npy files, whatever their arrays are called."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domtrans import DataFile, DomtransError, list_names, reason_of

IMAGE_KEYS = frozenset({"images", "image", "imgs", "x", "data"})
LABEL_KEYS = frozenset({"labels", "label", "y", "targets", "target", "classes"})

SPLIT_WORD = re.compile(
    r"(?:(?P<before>train|training|test|testing|val|valid|validation)_?)?(?P<key>[a-z]+?)"
    r"(?:_?(?P<after>train|training|test|testing|val|valid|validation))?"
)
"""A key such as "images", "x_train" or "test_labels"."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Arrays:
    """The images of a file, and labels if it has them.

    Attributes:
        images: [N, ...].
        labels: [N], or None.
        test: Of these images, the last ones that are the test split; None if the file has no splits.
        notes: Sentences about arrays that are not read.
    """

    images: Array
    labels: Array | None
    test: int | None = None
    notes: tuple[str, ...] = ()


def read_arrays(file: DataFile, images_key: str | None = None, labels_key: str | None = None) -> Arrays:
    """Read an .npz or .npy file.

    Args:
        file: The file.
        images_key: The array with the images; None: the one with a usual name, such as "images", "x" or "data".
        labels_key: The array with the labels; None: the one with a usual name, such as "labels" or "y", if there is one.

    Raises:
        DomtransError: If it is damaged, holds pickled objects, or it is unclear which arrays to read.
    """
    path = file.address
    try:
        local = file.fetch()
        if not local.is_file():
            raise OSError("it is not a regular file")  # opening a pipe would block
        with local.open("rb") as raw:  # np.load does not close a damaged file
            if not raw.read(6).startswith((b"PK", b"\x93NUMPY")):  # np.load takes any other file for pickled objects
                raise ValueError("it is neither an .npz nor an .npy file")
            raw.seek(0)
            loaded = np.load(raw, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                return Arrays(np.asarray(loaded), None)
            return _choose(path, loaded, images_key, labels_key)
    except ValueError as error:
        pickled = "pickle" in str(error) or "Object arrays" in str(error)
        reason = "it holds pickled objects, which are not loaded" if pickled else reason_of(error)
        raise DomtransError(f"{path} cannot be read as an .npz file: {reason}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, MemoryError) as error:
        raise DomtransError(f"{path} cannot be read as an .npz file: {reason_of(error)}") from None


def _choose(path: str, file: np.lib.npyio.NpzFile, images_key: str | None, labels_key: str | None) -> Arrays:
    """The arrays that hold the images and the labels."""
    for key in (images_key, labels_key):
        if key is not None and key not in file.files:
            raise DomtransError(f"{path} has no array '{key}'; it has {list_names(file.files)}")
    roles = {key: _role(key) for key in file.files}
    by_split = {
        split: {kind: [key for key, role in roles.items() if role == (kind, split)] for kind in ("images", "labels")}
        for split in ("", "train", "test", "val")
    }
    has_splits = bool(by_split["train"]["images"]) and not by_split[""]["images"] and images_key is None
    if has_splits:
        if labels_key is not None:
            raise DomtransError(
                f"{path} has an array of images for each split, so labels={labels_key} cannot name the labels of all; leave it "
                "out, and call the labels of each split e.g. y_train and y_test"
            )
        return _choose_splits(path, file, by_split["train"], by_split["test" if by_split["test"]["images"] else "val"])
    return _choose_single(path, file, by_split[""], images_key, labels_key)


def _choose_single(
    path: str, file: np.lib.npyio.NpzFile, named: Mapping[str, list[str]], images_key: str | None, labels_key: str | None
) -> Arrays:
    """One array of images, and one of labels if there is one. ``named`` has the usual names of each that occur."""
    images = images_key or _only(path, named["images"], "images")
    labels = labels_key or _only(path, [key for key in named["labels"] if key != images], "labels")
    if images is None:
        candidates = [key for key in file.files if key != labels and file[key].ndim in (3, 4)]
        if len(candidates) != 1:
            has = f"has {list_names(file.files)}" if file.files else "is empty"
            raise DomtransError(f"{path} must be an .npz file with an array 'images', but it {has}; name one with images=KEY")
        images = candidates[0]
    if labels is None and _unnamed(file.files):
        count = len(file[images])
        fitting = [key for key in file.files if key != images and file[key].size == count]
        labels = fitting[0] if len(fitting) == 1 else None
    return Arrays(file[images], None if labels is None else file[labels], notes=_unread(path, file.files, images, labels))


def _choose_splits(
    path: str, file: np.lib.npyio.NpzFile, train: Mapping[str, list[str]], test: Mapping[str, list[str]]
) -> Arrays:
    """The arrays of the splits, one after the other; there may be no test split."""
    keys = [(_only(path, part["images"], "images"), _only(path, part["labels"], "labels")) for part in (train, test)]
    present = [(images, labels) for images, labels in keys if images is not None]
    pixels = [file[images] for images, _ in present]
    if len({(array.shape[1:], array.dtype) for array in pixels}) > 1:
        shapes = " and ".join(
            f"{images} {array.dtype} {list(array.shape)}" for (images, _), array in zip(present, pixels, strict=True)
        )
        raise DomtransError(f"{path} has splits of different shapes: {shapes}")
    names = [labels for _, labels in present]
    if None in names and any(names):
        raise DomtransError(f"{path} has labels for one split only ({list_names([name for name in names if name])})")
    targets = [file[labels].reshape(len(array), -1) for array, labels in zip(pixels, names, strict=True) if labels is not None]
    used = [key for pair in present for key in pair]
    return Arrays(
        np.concatenate(pixels),
        np.concatenate(targets) if targets else None,
        len(pixels[1]) if len(pixels) > 1 else None,
        _unread(path, file.files, *used),
    )


def _role(key: str) -> tuple[str, str]:
    """What an array holds, "images", "labels" or "", and its split."""
    splits = {"training": "train", "testing": "test", "valid": "val", "validation": "val"}
    match = SPLIT_WORD.fullmatch(key.lower())
    if match is None:
        return "", ""
    split = match["before"] or match["after"] or ""
    kind = "images" if match["key"] in IMAGE_KEYS else "labels" if match["key"] in LABEL_KEYS else ""
    return kind, splits.get(split, split)


def _only(path: str, keys: Sequence[str], kind: str) -> str | None:
    """The one key; None if there is none."""
    if len(keys) > 1:
        raise DomtransError(f"{path} has several arrays of {kind} ({list_names(keys)}): choose one with {kind}=KEY")
    return keys[0] if keys else None


def _unnamed(keys: Sequence[str]) -> bool:
    """Whether ``np.savez`` named the arrays."""
    return all(re.fullmatch("arr_[0-9]+", key) for key in keys)


def _unread(path: str, keys: Sequence[str], *used: str | None) -> tuple[str, ...]:
    rest = [key for key in keys if key not in used]
    return (f"arrays of {path.replace(os.sep, '/').rpartition('/')[2]} that are not read: {list_names(rest)}",) if rest else ()
