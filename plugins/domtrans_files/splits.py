"""Splits into training and test images: a share of every class is held out."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from domtrans import DomtransError, class_notes, hold_out

__all__ = ["SPLITS", "Holdout", "Split", "class_notes", "hold_out_splits"]

Holdout = Annotated[float, Field(ge=0, le=1)]
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


def hold_out_splits(labels: Tensor | None, count: int, holdout: float, needed: Split, path: str) -> dict[Split, Tensor]:
    """The images of both splits, as ``hold_out`` chooses them, of a set with or without labels.

    Args:
        labels: int64 [N], the class of every image; None without.
        count: N.
        holdout: The share of every class that is the test split.
        needed: The split that must not be empty.
        path: What the data is, for messages.

    Raises:
        DomtransError: If that split is empty.
    """
    groups = torch.zeros(count, dtype=torch.int64) if labels is None else labels
    parts = {split: hold_out(groups, split, holdout) for split in SPLITS}
    if not len(parts[needed]):
        smallest = "" if labels is None or not 0 < holdout < 1 else ": every class is too small"
        raise DomtransError(
            f"{path} leaves no images for the {needed} split with holdout={holdout}{smallest}; change holdout or add images"
        )
    return parts
