"""Attributes of photographs in Labeled Faces in the Wild, labelled for this project: ``lfw_labels.csv``."""

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
def labels_by_photo() -> dict[str, dict[str, str]]:
    """Labels by name of the photograph, e.g. ``Aaron_Peirsol_0001``; an empty value is unknown."""
    lines = (files("domtrans_faces.domains") / "lfw_labels.csv").read_text(encoding="ascii").splitlines()
    return {row.pop("photograph"): row for row in csv.DictReader(lines)}


def attributes_of(names: Sequence[str]) -> dict[str, Attribute]:
    """Attributes of photographs by file name, -1 where unknown; without the attributes that are unknown for all."""
    rows = [labels_by_photo().get(PurePosixPath(name).stem, {}) for name in names]
    return {
        attribute: Attribute(values, torch.tensor([index_of(values, row.get(attribute, "")) for row in rows]))
        for attribute, values in VOCABULARY.items()
        if any(row.get(attribute) for row in rows)
    }


def index_of(values: Sequence[str], value: str) -> int:
    """Index of a value; -1 for an empty one."""
    return values.index(value) if value else -1
