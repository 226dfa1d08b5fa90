"""Attributes of photographs in Labeled Faces in the Wild, labelled for this project: ``lfw_labels.csv``."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

import torch

from domtrans import Attribute
from domtrans_faces.vocabulary import VOCABULARY


def photo_key(name: str) -> str:
    """The key of a photograph in the table: a hash of its file name, because LFW's file names are names of people."""
    return hashlib.sha256(PurePosixPath(name).stem.encode(errors="surrogateescape")).hexdigest()[:16]


@cache
def labels_by_photo() -> dict[str, dict[str, str]]:
    """Labels by the key of the photograph; an empty value is unknown."""
    lines = (files("domtrans_faces.domains") / "lfw_labels.csv").read_text(encoding="ascii").splitlines()
    return {row.pop("photograph"): row for row in csv.DictReader(lines)}


def attributes_of(names: Sequence[str]) -> dict[str, Attribute]:
    """Attributes of photographs by file name, -1 where unknown; without the attributes that are unknown for all."""
    rows = [labels_by_photo().get(photo_key(name), {}) for name in names]
    return {
        attribute: Attribute(values, torch.tensor([index_of(values, row.get(attribute, "")) for row in rows]))
        for attribute, values in VOCABULARY.items()
        if any(row.get(attribute) for row in rows)
    }


def index_of(values: Sequence[str], value: str) -> int:
    """Index of a value; -1 for an empty one."""
    return values.index(value) if value else -1
