"""How the original files of MNIST, SVHN and USPS are recognised."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from domtrans import DataReader, DomtransError, is_remote

MAT_PARTS = {"train_32x32.mat": "train", "extra_32x32.mat": "extra", "test_32x32.mat": "train"}
"""SVHN's files, and the option ``part`` that reads each."""


class MnistReader(DataReader):
    """A folder with MNIST's idx files, or one of them."""

    def options(self, data: str) -> dict[str, Any] | None:
        """The folder with the files. Raises DomtransError for an idx file with another name."""
        path = Path(data).expanduser()
        if is_remote(data):
            return None
        if path.is_dir():
            return {"root": data} if idx_files(path) else None
        if path.exists() and "-ubyte" in path.name:
            return {"root": str(Path(data).parent)}
        if begins_with(path, b"\x00\x00\x08\x01", b"\x00\x00\x08\x03"):
            raise DomtransError(
                f"{data} is an idx file with another name than MNIST's; rename the images to train-images-idx3-ubyte and "
                "their labels to train-labels-idx1-ubyte"
            )
        return None

    def shape(self, options: Mapping[str, Any]) -> tuple[int, int] | None:
        """That in the header of the first idx file of images."""
        files = idx_files(Path(str(options["root"])).expanduser()) if options.get("root") else []
        if not files:
            return None
        inside = sorted(each for each in files[0].glob("*") if each.is_file())  # archive programs may make a folder
        file = inside[0] if inside else files[0]
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            height, width = np.frombuffer(opened.read(16), ">i4", 2, 8).tolist()
        return height, width


class SvhnReader(DataReader):
    """A folder with SVHN's .mat files of cropped digits, or one of them."""

    def options(self, data: str) -> dict[str, Any] | None:
        """The folder with the files, and the part. Raises DomtransError for a .mat file with another name."""
        path = Path(data).expanduser()
        if is_remote(data):
            return None
        if path.is_dir():
            files = mat_files(path)
            return svhn_options(data, files[0]) if files else None
        if path.exists() and path.name in MAT_PARTS:
            return svhn_options(str(Path(data).parent), path)
        if (path.is_file() and path.suffix.lower() == ".mat") or begins_with(path, b"MATLAB 5.0 MAT-file"):
            raise DomtransError(f"{data} is not named like a file of SVHN; rename it to train_32x32.mat or test_32x32.mat")
        return None

    def shape(self, options: Mapping[str, Any]) -> tuple[int, int] | None:
        """That of the array X in the first of the files."""
        from scipy.io import whosmat

        files = mat_files(Path(str(options["root"])).expanduser()) if options.get("root") else []
        if not files:
            return None
        shape = {name: shape for name, shape, _ in whosmat(files[0])}["X"]
        return shape[0], shape[1]


class UspsReader(DataReader):
    """A folder with USPS's files."""

    def options(self, data: str) -> dict[str, Any] | None:
        """The folder with the files."""
        if is_remote(data):
            return None
        folder = Path(data).expanduser()
        return {"root": data} if any((folder / name).is_file() for name in ("usps.bz2", "usps.t.bz2")) else None


def svhn_options(root: str, file: Path) -> dict[str, Any]:
    """The options of the domain svhn that read a file in a folder."""
    part = MAT_PARTS[file.name]
    return {"root": root} | ({} if part == "train" else {"part": part})


def idx_files(folder: Path) -> list[Path]:
    """Files of images in MNIST's format, where torchvision puts them too."""
    places = (folder, folder / "raw", folder / "MNIST" / "raw")
    return sorted(file for place in places for file in place.glob("*-images?idx3-ubyte*"))


def mat_files(folder: Path) -> list[Path]:
    """SVHN's files in a folder."""
    return [folder / name for name in MAT_PARTS if (folder / name).is_file()]


def begins_with(path: Path, *magic: bytes) -> bool:
    """Whether a file begins with some bytes that say what it is. A pipe is no file: opening it would wait for its writer."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(20).startswith(magic)
    except OSError:
        return False
