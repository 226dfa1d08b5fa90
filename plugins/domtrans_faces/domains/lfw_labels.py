"""What can be seen on photographs of Labeled Faces in the Wild: ``lfw_labels.csv``, labelled for this project."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

import torch

from domtrans import Attribute
from domtrans_faces.vocabulary import VOCABULARY


@cache
def table() -> dict[str, dict[str, str]]:
    """The labels of each photograph by its name, e.g. ``Aaron_Peirsol_0001``; empty where nothing can be seen."""
    lines = (files("domtrans_faces.domains") / "lfw_labels.csv").read_text(encoding="ascii").splitlines()
    return {row.pop("photograph"): row for row in csv.DictReader(lines)}


def looks_of(names: Sequence[str]) -> dict[str, Attribute]:
    """Attributes of photographs by their files' names; -1 where nothing is known. Empty where nothing is known of any."""
    rows = [table().get(PurePosixPath(name).stem, {}) for name in names]
    return {
        attribute: Attribute(values, torch.tensor([place(values, row.get(attribute, "")) for row in rows]))
        for attribute, values in VOCABULARY.items()
        if any(row.get(attribute) for row in rows)
    }


def place(values: Sequence[str], word: str) -> int:
    """Where a word stands among the values; -1 for none."""
    return values.index(word) if word else -1
