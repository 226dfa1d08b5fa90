"""Kuzushiji-MNIST for domtrans: a domain with a data set class of its own, and a recipe that uses it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

import domtrans
from domtrans import DomtransError, EncoderPart, ImageSet, OptimizerConfig, Recipe, TrainConfig, term, use

domtrans_interface = 1

CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
FILES = {"train": "train", "test": "t10k"}


class KuzushijiImages(Dataset[tuple[Tensor, int]]):
    """Characters and their classes, from the idx files of one split in a folder. A torch data set like any other."""

    def __init__(self, folder: Path, split: Literal["train", "test"]) -> None:
        self.images = read_idx(folder, f"{FILES[split]}-images-idx3-ubyte", dimensions=3)
        self.labels = read_idx(folder, f"{FILES[split]}-labels-idx1-ubyte", dimensions=1)
        if len(self.images) != len(self.labels):
            raise DomtransError(f"{folder} has {len(self.images)} images but {len(self.labels)} labels in its {split} split")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.images[index]), int(self.labels[index])


def kmnist(split: Literal["train", "test"], size: int, *, root: str | None = None, download: bool = False) -> ImageSet:
    """Kuzushiji-MNIST: 60,000 train and 10,000 test characters of 28 x 28 pixels, in 10 classes.

    ``root``: the folder that holds the idx files, packed or not; by default ``datasets/kmnist`` in the cache.
    ``download``: let torchvision fetch them if they are not there.
    Raises DomtransError, saying what to put where, if they are missing or damaged.
    """
    folder = Path(root) if root is not None else domtrans.Cache().folder / "datasets" / "kmnist"
    if download and find(folder, f"{FILES[split]}-images-idx3-ubyte") is None:
        fetch(folder)
    found = KuzushijiImages(folder, split)
    padded = F.pad(torch.from_numpy(found.images), (2, 2, 2, 2))  # to 32 x 32, so that no pixel is changed at that size
    about = f"kmnist, {split} split, {len(found):,} images"
    return ImageSet.from_arrays(padded, found.labels, size=size, classes=CLASSES, about=about)


def brushed_digits() -> Recipe:
    """Handwritten digits, redrawn with the strokes of cursive Japanese: the paper's losses."""
    return Recipe(
        name="brushed-digits",
        description="handwritten digits in the strokes of Kuzushiji-MNIST",
        source=use("mnist-5k"),
        target=use("kmnist"),
        encoder=EncoderPart(name="digit-encoder"),
        fit=use("classifier"),
        generator=use("digit-generator"),
        discriminator=use("digit-discriminator"),
        generator_losses={
            "gan": term("ternary-generator"),
            "const": term("feature-consistency", weight=15, distance="mse"),
            "tid": term("target-identity", weight=15),
        },
        discriminator_losses={"gan": term("ternary-discriminator")},
        train=TrainConfig(steps=600, generator_optimizer=OptimizerConfig(lr=5e-4, schedule="cosine")),
    )


@domtrans.hookimpl
def register(registry: domtrans.Registry) -> None:
    """Called once, when domtrans loads its plugins."""
    registry.domain("kmnist", kmnist)
    registry.recipe("brushed-digits", brushed_digits)


def read_idx(folder: Path, name: str, *, dimensions: int) -> np.ndarray:
    """An idx file of bytes: two zeros, the type 8, the number of dimensions, then each as big-endian int32."""
    path = find(folder, name)
    if path is None:
        raise DomtransError(
            f"there is no file {name}.gz in {folder}: put the four files of https://codh.rois.ac.jp/kmnist there, or set the "
            "domain's root to where they are, or its download to true"
        )
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if raw[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("it does not begin as such a file does")
        shape = np.frombuffer(raw, ">i4", dimensions, 4)
        return np.frombuffer(raw, np.uint8, int(shape.prod()), 4 + 4 * dimensions).reshape(shape).copy()
    except (OSError, EOFError, ValueError) as error:
        raise DomtransError(f"{path} is not a whole idx file: {error}; delete it and fetch it again") from None


def find(folder: Path, name: str) -> Path | None:
    """The file, packed or not, in the folder or where torchvision puts it."""
    places = (folder, folder / "KMNIST" / "raw")
    paths = [place / (name + ending) for place in places for ending in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def fetch(folder: Path) -> None:
    """Let torchvision download into the folder; its faults become one sentence."""
    from torchvision.datasets import KMNIST

    try:
        KMNIST(str(folder), download=True)
    except Exception as error:  # noqa: BLE001 - network, archive and disk faults come in many classes
        reason = " ".join(str(error).split())[:160]
        raise DomtransError(f"kmnist could not be fetched into {folder}: {reason}") from None
