"""Splits into training and test images: a share of every class is held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from domtrans.data.classes import list_names

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")


def hold_out(labels: Tensor, split: Split, holdout: float) -> Tensor:
    """The images of a split, int64 [n], ascending: of every class the first for "train", the last for "test".

    A class that is too small to split stays in training.

    Args:
        labels: int64 [N], the class of every image, in the order of the file names.
        split: "train" or "test".
        holdout: Share of every class that is the test split; 1 holds out all.
    """
    in_order = labels.sort(stable=True).indices
    counts = torch.bincount(labels)
    held = (counts.double() * holdout).round().long()
    if holdout < 1:
        held = torch.minimum(held, (counts - 1).clamp_min(0))
    position = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[in_order]]
    in_test = position >= (counts - held)[labels[in_order]]
    return in_order[in_test if split == "test" else ~in_test].sort().values


def class_notes(
    labels: Tensor, classes: Sequence[str], in_training: Tensor, in_test: Tensor, holdout: float | None
) -> list[str]:
    """Sentences about the classes that a split lacks.

    Args:
        labels: int64 [N], the classes of all images.
        classes: The names of the classes.
        in_training: int64 [n], the images of the training split.
        in_test: int64 [n], the images of the test split.
        holdout: The share that is held out; None if the data itself has the splits.
    """
    train, test = (torch.bincount(labels[index], minlength=len(classes)).tolist() for index in (in_training, in_test))
    absent = [name for name, a, b in zip(classes, train, test, strict=True) if not a and not b]
    notes = [_sentence(absent, "has no images", "have no images")] if absent else []
    if holdout in (0, 1):
        return notes
    untested = [name for name, a, b in zip(classes, train, test, strict=True) if a and not b]
    if untested and holdout is not None:
        reason = f"too small to split with holdout={holdout:g} and"
        notes.append(_sentence(untested, f"is {reason} stays in training", f"are {reason} stay in training"))
    elif untested:
        notes.append(_sentence(untested, "has no test images", "have no test images"))
    untrained = [name for name, a, b in zip(classes, train, test, strict=True) if b and not a]
    if untrained:
        notes.append(_sentence(untrained, "has no training images", "have no training images"))
    return notes


def _sentence(names: Sequence[str], one: str, many: str) -> str:
    return f"class {names[0]} {one}" if len(names) == 1 else f"classes {list_names(names)} {many}"
