"""Find SVHN and MNIST in a folder, by the original names of their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domtrans import DomtransError
from domtrans_digits.domains.digits import find_idx

Domain = dict[str, Any]


def find_svhn(folder: Path) -> Domain:
    """The domain for the SVHN in a folder or its subfolder ``svhn``: the .mat files, else ``svhn_8k.npz``.

    The train split is the extra part if it is there, as in the paper and the study, else the train part. The test split
    of the .npz is its last eighth, because neighbouring images may show the same house number.

    Raises:
        DomtransError: If neither is there.
    """
    for root in (folder, folder / "svhn"):
        parts = [part for part in ("extra", "train") if (root / f"{part}_32x32.mat").is_file()]
        if parts and (root / "test_32x32.mat").is_file():
            return {"name": "svhn", "root": str(root), "part": parts[0]}
        if (root / "svhn_8k.npz").is_file():
            return {"name": "arrays", "path": str(root / "svhn_8k.npz"), "holdout": 0.125, "split_by": "order"}
    raise DomtransError(
        f"there is no SVHN in {folder}: it needs test_32x32.mat and train_32x32.mat or extra_32x32.mat, or svhn_8k.npz, "
        "there or in a subfolder svhn"
    )


def find_mnist(folder: Path) -> Domain:
    """The domain for the MNIST in a folder, its subfolder ``mnist``, or torchvision's subfolders of either.

    Raises:
        DomtransError: If it is not there.
    """
    for root in (folder, folder / "mnist"):
        if all(find_idx(root, name) for name in _idx_files()):
            return {"name": "mnist", "root": str(root)}
    raise DomtransError(
        f"there is no MNIST in {folder}: it needs the four idx files, gzipped or not ({', '.join(_idx_files())})"
    )


def _idx_files() -> Iterator[str]:
    return (f"{split}-{content}-ubyte" for split in ("train", "t10k") for content in ("images-idx3", "labels-idx1"))
