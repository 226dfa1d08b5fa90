"""SVHN and MNIST as they lie in a folder, under the names that their authors gave the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domtrans import DomtransError
from domtrans_digits.domains.digits import _find_idx

Domain = dict[str, Any]


def find_svhn(folder: Path) -> Domain:
    """The domain for the SVHN in a folder or its subfolder ``svhn``: the .mat files, else ``svhn_8k.npz``.

    Trained on is the extra part where it is there, as in the paper and the study, else the train part. Neighbours in the .npz
    belong together, so its last eighth is the test split. Raises DomtransError if neither is there.
    """
    for place in (folder, folder / "svhn"):
        parts = [part for part in ("extra", "train") if (place / f"{part}_32x32.mat").is_file()]
        if parts and (place / "test_32x32.mat").is_file():
            return {"name": "svhn", "root": str(place), "part": parts[0]}
        if (place / "svhn_8k.npz").is_file():
            return {"name": "arrays", "path": str(place / "svhn_8k.npz"), "holdout": 0.125}
    raise DomtransError(
        f"there is no SVHN in {folder}: it needs test_32x32.mat and train_32x32.mat or extra_32x32.mat, or svhn_8k.npz, "
        "there or in a subfolder svhn"
    )


def find_mnist(folder: Path) -> Domain:
    """The domain for the MNIST in a folder, its subfolder ``mnist``, or where torchvision puts it below one of them.

    Raises DomtransError if it is not there.
    """
    for place in (folder, folder / "mnist"):
        if all(_find_idx(place, name) for name in _idx_files()):
            return {"name": "mnist", "root": str(place)}
    raise DomtransError(
        f"there is no MNIST in {folder}: it needs the four idx files, packed or not ({', '.join(_idx_files())})"
    )


def _idx_files() -> Iterator[str]:
    return (f"{split}-{what}-ubyte" for split in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
