"""The names and formats of output files: no two inputs get the same, and crops are numbered."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from domtrans.data.image_formats import image_format, image_suffixes
from domtrans.errors import DomtransError
from domtrans.inference.video import VIDEO_FORMATS

NUMBERED_STEM = re.compile(r"(.+)-\d+")
"""Stem of a crop's file: ``a-1.png`` is the first crop of the image that becomes ``a.png``."""

SVG = "SVG"
"""The format of drawings. Pillow does not write it."""


def output_names(names: Sequence[Path], suffix: str = ".png", *, numbered: bool = False) -> list[Path]:
    """The output file for each input of a folder: no two are the same, on case-insensitive file systems too.

    Inputs that would share an output keep their suffix in it (``a.jpg.png``). So does an input whose output would have the
    name of an output folder or, with ``numbered``, of another input's crop. Videos keep their format.
    """
    keep_suffix: set[Path] = set()
    while True:
        outputs = [output_name(name, suffix, keep_suffix=name in keep_suffix) for name in names]
        uses = Counter(map(case_insensitive, outputs))
        uses += Counter({case_insensitive(folder) for output in outputs for folder in output.parents})
        clashing = {name for name, output in zip(names, outputs, strict=True) if uses[case_insensitive(output)] > 1}
        if numbered:
            owners = [(name, unnumbered(output)) for name, output in zip(names, outputs, strict=True)]
            clashing |= {name for name, owner in owners if owner is not None and uses[case_insensitive(owner)]}
        if clashing <= keep_suffix:
            return outputs
        keep_suffix |= clashing


def readable_suffixes() -> frozenset[str]:
    """The suffixes of images and videos."""
    return image_suffixes() | VIDEO_FORMATS.keys()


def output_format(target: Path) -> str:
    """The suffix of a video, "SVG", or Pillow's name of an image format. Raises DomtransError for another suffix."""
    if target.suffix.lower() == ".svg":
        return SVG
    return target.suffix.lower() if target.suffix.lower() in VIDEO_FORMATS else image_format(target)


def numbered_target(target: Path | BinaryIO, number: int) -> Path:
    """The file of the ``number``-th crop: ``a-1.png`` beside ``a.png``."""
    if not isinstance(target, Path):
        raise DomtransError("crops need file names; give a file or a folder as the output, not standard output")
    return target.with_name(f"{target.stem}-{number}{target.suffix}")


def output_name(name: Path, suffix: str, *, keep_suffix: bool = False) -> Path:
    """The input's name with the suffix of the output, instead of its own or after it. Videos keep their format."""
    suffix = name.suffix if name.suffix.lower() in VIDEO_FORMATS else suffix
    return name.with_name(name.name + suffix) if keep_suffix else name.with_suffix(suffix)


def unnumbered(path: Path) -> Path | None:
    """``a.png`` for ``a-1.png``; None for a name without a number."""
    match = NUMBERED_STEM.fullmatch(path.stem)
    return path.with_name(match[1] + path.suffix) if match else None


def case_insensitive(path: Path) -> str:
    """A path as a key that is equal for names which a case-insensitive file system does not tell apart."""
    return unicodedata.normalize("NFC", str(path)).casefold()
