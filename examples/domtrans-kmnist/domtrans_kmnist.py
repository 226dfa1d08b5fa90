"""Kuzushiji-MNIST for domtrans: a domain with its own data set class, and a recipe that uses it."""

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
from domtrans import DomtransError, EncoderPart, ImageSet, OptimizerConfig, Recipe, TrainConfig, reason_of, term, use

domtrans_interface = 1

CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
FILES = {"train": "train", "test": "t10k"}


class KuzushijiImages(Dataset[tuple[Tensor, int]]):
    """Characters and their classes, from the idx files of one split. An ordinary torch data set.

    Args:
        folder: The folder of the idx files.
        split: "train" or "test".
    """

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

    Args:
        split: "train" or "test".
        size: Side of the images in pixels.
        root: Folder of the idx files, plain or gzipped; by default ``datasets/kmnist`` in the cache.
        download: Download missing files with torchvision.

    Raises:
        DomtransError: If files are missing or damaged; it says which files to put where.

    Licence: CC BY-SA 4.0. T. Clanuwat et al.: Deep Learning for Classical Japanese Literature, 2018.
    """
    folder = Path(root) if root is not None else domtrans.Cache().folder / "datasets" / "kmnist"
    if download and find_file(folder, f"{FILES[split]}-images-idx3-ubyte") is None:
        download_files(folder)
    data = KuzushijiImages(folder, split)
    padded = F.pad(torch.from_numpy(data.images), (2, 2, 2, 2))  # 32 x 32 pixels, so that this size needs no resampling
    about = f"kmnist, {split} split, {len(data):,} images"
    return ImageSet.from_arrays(padded, data.labels, size=size, classes=CLASSES, about=about)


def brushed_digits() -> Recipe:
    """Redraw handwritten digits with the strokes of cursive Japanese, with the paper's losses."""
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
    """Register the domain and the recipe. domtrans calls this once, when it loads its plugins."""
    registry.domain("kmnist", kmnist)
    registry.recipe("brushed-digits", brushed_digits)


def read_idx(folder: Path, name: str, *, dimensions: int) -> np.ndarray:
    """Read an idx file of bytes: two zeros, the type 8, the number of dimensions, each dimension as big-endian int32, data."""
    path = find_file(folder, name)
    if path is None:
        raise DomtransError(
            f"there is no file {name}.gz in {folder}: put the four files of https://codh.rois.ac.jp/kmnist there, or set the "
            "domain's option root to their folder, or its option download to true"
        )
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if raw[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("its header is wrong")
        shape = np.frombuffer(raw, ">i4", dimensions, 4)
        return np.frombuffer(raw, np.uint8, int(shape.prod()), 4 + 4 * dimensions).reshape(shape).copy()
    except (OSError, EOFError, ValueError) as error:
        raise DomtransError(f"{path} is not a complete idx file: {error}; delete it and download it again") from None


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file, plain or gzipped, from the folder or from where torchvision downloads it."""
    folders = (folder, folder / "KMNIST" / "raw")
    paths = [parent / (name + suffix) for parent in folders for suffix in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def download_files(folder: Path) -> None:
    """Download the files with torchvision. Raises DomtransError if that fails."""
    from torchvision.datasets import KMNIST

    try:
        KMNIST(str(folder), download=True)
    except Exception as error:  # noqa: BLE001 - network, archive and disk errors have many classes
        reason = reason_of(error)
        raise DomtransError(f"kmnist could not be downloaded into {folder}: {reason}") from None
