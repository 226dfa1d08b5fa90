"""Class names: their order, labels in any form that people store, and the same class in two sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from domtrans.errors import DomtransError

MAX_EMPTY_CLASSES = 1000
"""Classes without images that a gap in integer labels may add; with larger gaps, only the labels that occur are classes."""

MAX_NAMED = 8
"""Names that a list in a note or a message has at most."""

INTEGER = re.compile("-?[0-9]+")
DIGITS = re.compile("([0-9]+)")

NaturalKey = tuple[list[str | int], str]


def natural_key(name: str) -> NaturalKey:
    """Sort key for names as people count: 2 before 10, in any case, then exactly. Negative numbers come first."""
    if INTEGER.fullmatch(name):
        return ["", _number(name), ""], name
    parts: list[str | int] = list(DIGITS.split(name.lower()))
    parts[1::2] = map(_number, parts[1::2])
    return parts, name


def _number(digits: Any) -> int:
    return int(digits[:4000])  # Python refuses to convert longer ones


def class_list(names: Iterable[str]) -> tuple[str, ...]:
    """The different names in natural order."""
    return tuple(sorted(set(names), key=natural_key))


def list_names(names: Sequence[str]) -> str:
    """The first names of a list, for a note or a message."""
    rest = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


class Labelled(Protocol):
    """What ``align_labels`` reads of an ImageSet, which imports this module."""

    @property
    def labels(self) -> Tensor | None:
        """int64 [N]."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""

    @property
    def about(self) -> str:
        """What the set is."""


def align_labels(images: Labelled, classes: Sequence[str]) -> Tensor:
    """The labels of a set as indices into other class names, by name.

    Args:
        images: A set with labels.
        classes: The other names, e.g. those of another domain.

    Returns:
        int64 [N] on the CPU; -1 for an image whose class is not in ``classes``.

    Raises:
        DomtransError: If the set has no labels.
    """
    if images.labels is None:
        raise DomtransError(f"{images.about or 'an image set'} has no labels")
    index = {name: number for number, name in enumerate(classes)}
    return torch.tensor([index.get(name, -1) for name in images.classes])[images.labels.cpu()]


def read_labels(labels: Any, count: int, classes: Sequence[str] = (), about: str = "") -> tuple[Tensor, tuple[str, ...]]:
    """Labels as arrays and lists have them: integers, whole floats, booleans or names, of shape [N], [N, 1] or [1, N].

    Args:
        labels: The labels of ``count`` images.
        count: Number of images.
        classes: Class names that integers index and that names must be of. Empty: integers are named "0", "1", ... up to
            the largest; from the smallest if that is not 0, so labels 1 to 10 are the classes "1" to "10".
        about: What the data is, for error messages.

    Returns:
        int64 [N] in 0..K-1, and the K class names.

    Raises:
        DomtransError: For other shapes, fractions, NaN, negative numbers, missing names, or labels beyond ``classes``.
    """
    where = f": {about}" if about else ""
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        advice = "; one-hot labels become indices with labels.argmax(1)" if values.ndim == 2 else ""
        raise DomtransError(f"labels must be integers or names [N], not {values.dtype} {list(values.shape)}{advice}{where}")
    if len(values) != count:
        raise DomtransError(f"there are {count} images but {len(values)} labels{where}")
    if not count:
        raise DomtransError(f"there are no images{where}")
    if values.dtype.kind in "USO":
        return _index_names(_to_names(values, where), tuple(classes), where)
    return _index_integers(_to_integers(values, where), tuple(classes), where)


def _to_names(values: np.ndarray, where: str) -> list[str]:
    names = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values.tolist()]
    wrong = next((name for name in names if not isinstance(name, str) or not name.strip()), None)
    if wrong is not None or None in names:
        raise DomtransError(f"labels must be integers or names, but one is {wrong!r}{where}; leave out unlabelled images")
    return [name.strip() for name in names]


def _to_integers(values: np.ndarray, where: str) -> np.ndarray:
    """int64 [N], not negative."""
    if values.dtype.kind not in "iufb":
        raise DomtransError(f"labels must be integers or names [N], not {values.dtype} {list(values.shape)}{where}")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        wrong = values[~(values == np.rint(values)) | ~np.isfinite(values)][0]
        raise DomtransError(f"labels must be whole numbers, but one is {wrong:g}{where}; leave out unlabelled images")
    if values.max() > 2**62:
        raise DomtransError(f"the label {values.max():g} is too large{where}")
    if values.min() < 0:  # before the cast, which not every float survives
        raise DomtransError(f"labels must not be negative, but one is {values.min():g}{where}; leave out unlabelled images")
    return values.astype(np.int64)


def _index_names(names: list[str], classes: tuple[str, ...], where: str) -> tuple[Tensor, tuple[str, ...]]:
    classes = classes or class_list(names)
    index = {name: number for number, name in enumerate(classes)}
    unknown = next((name for name in names if name not in index), None)
    if unknown is not None:
        raise DomtransError(f"the label '{unknown[:100]}' is not one of the classes {list_names(classes)}{where}")
    return torch.tensor([index[name] for name in names]), classes


def _index_integers(values: np.ndarray, classes: tuple[str, ...], where: str) -> tuple[Tensor, tuple[str, ...]]:
    low, high = int(values.min()), int(values.max())
    if classes:
        if high >= len(classes):
            raise DomtransError(f"labels run from {low} to {high}, but there are {len(classes)} classes{where}")
        return torch.from_numpy(values), classes
    occurring = np.unique(values)
    if high - low + 1 - len(occurring) > MAX_EMPTY_CLASSES:
        return torch.from_numpy(np.searchsorted(occurring, values)), tuple(map(str, occurring.tolist()))
    return torch.from_numpy(values - low), tuple(map(str, range(low, high + 1)))
