"""Splits into training and test images: a share of every class is held out."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from domtrans import DomtransError, class_notes, hold_out

__all__ = ["SPLITS", "Holdout", "Split", "class_notes", "hold_out", "split_index"]

Holdout = Annotated[float, Field(ge=0, le=1)]
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


def split_index(labels: Tensor | None, count: int, split: Split, holdout: float, path: str) -> Tensor:
    """``hold_out`` of a set with or without labels. Raises DomtransError if the split is empty."""
    index = hold_out(torch.zeros(count, dtype=torch.int64) if labels is None else labels, split, holdout)
    if not len(index):
        smallest = "" if labels is None or not 0 < holdout < 1 else ": every class is too small"
        raise DomtransError(
            f"{path} leaves no images for the {split} split with holdout={holdout}{smallest}; change holdout or add images"
        )
    return index
