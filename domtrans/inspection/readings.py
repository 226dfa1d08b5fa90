"""Which domain reads a path: a folder of images, shards, an array file, or the original files of digit sets."""

from __future__ import annotations

import gzip
import shlex
import zipfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from domtrans.data.image_scan import walk_images
from domtrans.errors import DomtransError
from domtrans.inspection import content
from domtrans.recipe.overrides import assignment, parse
from domtrans.registry.parts import Part, schema
from domtrans.registry.registry import Registry
from domtrans.storage.address import check_address, is_remote, name_of_address
from domtrans.storage.data_file import data_file

DOMAINS = ("source", "target")
ARRAY_SUFFIXES = (".npz", ".npy")
ARCHIVE_SUFFIXES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
MAT_PARTS = {"train_32x32.mat": "train", "extra_32x32.mat": "extra", "test_32x32.mat": "train"}
"""SVHN's files, and the option ``part`` that reads each."""

MAX_ARRAY_SIZE = 1024
"""Side in pixels up to which arrays are read in their own size."""


def find_reading(data: str, words: Sequence[str], registry: Registry) -> tuple[str, Part]:
    """The domain that reads a path.

    Args:
        data: A folder, a file, or a pattern of shards.
        words: Changes such as "layout=classes", "source.layout=classes" or "source=webdataset".
        registry: The domains.

    Returns:
        "source" or "target", and the domain.

    Raises:
        DomtransError: If nothing reads it, or several domains do.
    """
    check_address(data)
    field, name, options = _read_words(words)
    if name is None:
        readings = _readings(data)
        if len(readings) > 1:
            choices = ", or ".join(f"{field}={part.name}" for part in readings)
            raise DomtransError(f"{data} can be read in several ways; choose a reading: {choices}")
        part = readings[0]
    else:
        part = Part(name=name, options=_own_path(data, name, registry))
    return field, Part(name=part.name, options=part.options | options)


def words_of(field: str, part: Part, registry: Registry) -> list[str]:
    """The changes to a recipe that make a domain its source or target, without options that have their default."""
    defaults = {name: info.default for name, info in schema(registry.get("domain", part.name).factory).model_fields.items()}
    options = {name: value for name, value in part.options.items() if name not in defaults or value != defaults[name]}
    return [f"{field}={part.name}", *(assignment(f"{field}.{name}", value) for name, value in options.items())]


def quote_words(words: Sequence[str]) -> str:
    """The words as a shell reads them."""
    return shlex.join(words)


def is_data(data: str) -> bool:
    """Whether an argument is a path of data, and not the name or the file of a recipe, or a run folder."""
    if is_remote(data):
        return True
    path = Path(data).expanduser()
    if path.is_dir():
        return not (path / "recipe.json").is_file()
    if path.is_file():
        return path.suffix.lower() not in (".toml", ".json")
    suffix = Path(data).suffix.lower()
    return "{" in data or "/" in data or suffix in (*ARRAY_SUFFIXES, *ARCHIVE_SUFFIXES, ".tar", ".mat")


def array_shape(part: Part) -> tuple[int, int] | None:
    """Height and width of the images in an array file, an idx file or a .mat file, from its header; None for other data."""
    place = part.options.get("path") or part.options.get("root")
    if place is None:
        return None
    try:
        if part.name == "arrays":
            return _numpy_shape(data_file(str(place)).fetch(), part.options.get("images"), part.options.get("channels"))
        path = Path(str(place)).expanduser()
        if path.is_dir() and (files := _idx_files(path)):
            return _idx_shape(files[0])
        if path.is_dir() and (files := _mat_files(path)):
            return _mat_shape(files[0])
    except (DomtransError, OSError, EOFError, ValueError, IndexError, KeyError, zipfile.BadZipFile):
        return None  # the domain says what is wrong
    return None


def _read_words(words: Sequence[str]) -> tuple[str, str | None, dict[str, Any]]:
    """Source or target, the name of the domain if it is given, and its options."""
    fields, name, options = set(), None, {}
    for path, value in parse(words):
        field, _, option = path.partition(".")
        if field in DOMAINS:
            fields.add(field)
        if path in DOMAINS:
            name = str(value)
        elif field in DOMAINS:
            options[option] = value
        elif "." in path:
            raise DomtransError(f"'{path}' is not an option of data; give options of the domain, such as source.layout=classes")
        else:
            options[path] = value
    if len(fields) > 1:
        raise DomtransError("the changes are for both source and target; inspect one of them, or a recipe")
    return (fields.pop() if fields else "source"), name, options


def _own_path(data: str, name: str, registry: Registry) -> dict[str, Any]:
    """The option of a named domain that is the path of the data."""
    fields = schema(registry.get("domain", name).factory).model_fields
    option = next((option for option in ("path", "root") if option in fields), None)
    if option is None:
        raise DomtransError(f"the domain '{name}' reads no path; inspect a recipe instead, e.g. domtrans inspect RECIPE")
    root = Path(data).expanduser()
    return {option: str(Path(data).parent) if option == "root" and root.is_file() else data}


def _readings(data: str) -> list[Part]:
    """The domains that may read a path, at least one."""
    path = Path(data).expanduser()
    suffix = Path(name_of_address(data)).suffix.lower() if is_remote(data) else path.suffix.lower()
    if path.is_dir():
        return _folder_readings(path, data)
    if suffix in ARRAY_SUFFIXES:
        return [Part(name="arrays", options={"path": data})]
    if suffix == ".tar" or "{" in data or is_remote(data):
        return [Part(name="webdataset", options={"path": data})]
    if not path.exists():
        raise DomtransError(f"there is no file, folder or recipe {data}")
    if path.name in MAT_PARTS:
        return [_svhn(str(Path(data).parent), MAT_PARTS[path.name])]
    if "-ubyte" in path.name:
        return [Part(name="mnist", options={"root": str(Path(data).parent)})]
    return [_by_content(path, data)]


def _by_content(path: Path, data: str) -> Part:
    """The domain that reads a file whose name does not tell."""
    kind = content.kind_of(path)
    if kind in (content.ARRAYS, content.SHARD):
        return Part(name="arrays" if kind == content.ARRAYS else "webdataset", options={"path": data})
    if kind == content.MATLAB or path.suffix.lower() == ".mat":
        raise DomtransError(f"{data} is not named like a file of SVHN; rename it to train_32x32.mat or test_32x32.mat")
    if kind == content.IDX:
        raise DomtransError(
            f"{data} is an idx file with another name than MNIST's; rename the images to train-images-idx3-ubyte and their "
            "labels to train-labels-idx1-ubyte"
        )
    if kind == content.ARCHIVE or path.suffix.lower() in ARCHIVE_SUFFIXES:
        raise DomtransError(f"{data} is a compressed archive; unpack it and inspect the folder, or its .tar files")
    raise DomtransError(
        f"{data} is not data that domtrans can read; give a folder of images, an .npz or .npy file, .tar shards, or a folder "
        "of idx files"
    )


def _folder_readings(path: Path, data: str) -> list[Part]:
    readings = []
    if any(isinstance(item, Path) for item in walk_images(path)):
        readings.append(Part(name="folder", options={"path": data}))
    if any(chain(path.glob("*.tar"), path.glob("*/*.tar"))):
        readings.append(Part(name="webdataset", options={"path": data}))
    if _idx_files(path):
        readings.append(Part(name="mnist", options={"root": data}))
    if files := _mat_files(path):
        readings.append(_svhn(data, MAT_PARTS[files[0].name]))
    if any((path / name).is_file() for name in ("usps.bz2", "usps.t.bz2")):
        readings.append(Part(name="usps", options={"root": data}))
    if not readings and (arrays := sorted(file for file in path.iterdir() if file.suffix.lower() in ARRAY_SUFFIXES)):
        names = [file.name for file in arrays]
        raise DomtransError(f"{data} has array files and no images; inspect one of the files: {', '.join(names[:8])}")
    return readings or [Part(name="folder", options={"path": data})]


def _svhn(root: str, part: str) -> Part:
    return Part(name="svhn", options={"root": root} | ({} if part == "train" else {"part": part}))


def _idx_files(folder: Path) -> list[Path]:
    """Files of images in MNIST's format, where torchvision puts them too."""
    places = (folder, folder / "raw", folder / "MNIST" / "raw")
    return sorted(file for place in places for file in place.glob("*-images?idx3-ubyte*"))


def _mat_files(folder: Path) -> list[Path]:
    return [folder / name for name in MAT_PARTS if (folder / name).is_file()]


def _numpy_shape(path: Path, key: str | None, channels: int | None) -> tuple[int, int] | None:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return _sides(_npy_header(file), channels)
    with zipfile.ZipFile(path) as archive:
        for name in [f"{key}.npy"] if key else archive.namelist():
            with archive.open(name) as file:
                sides = _sides(_npy_header(file), channels)
            if sides:
                return sides
    return None


def _npy_header(file: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape: tuple[int, ...] = read(file)[0]
    return shape


def _sides(shape: Sequence[int], channels: int | None) -> tuple[int, int] | None:
    """Height and width of images [N, H, W], [N, H, W, C] or [N, C, H, W]; C is 1 or 3, unless ``channels`` is given."""
    if len(shape) == 4 and shape[-1] not in ((1, 3) if channels is None else (channels,)):
        return shape[2], shape[3]
    return (shape[1], shape[2]) if len(shape) in (3, 4) else None


def _idx_shape(path: Path) -> tuple[int, int] | None:
    path = next((file for file in sorted(path.iterdir()) if file.is_file()), path) if path.is_dir() else path
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        height, width = np.frombuffer(file.read(16), ">i4", 2, 8).tolist()
    return height, width


def _mat_shape(path: Path) -> tuple[int, int] | None:
    from scipy.io import whosmat

    shape = {name: shape for name, shape, _ in whosmat(path)}["X"]
    return shape[0], shape[1]
