"""How the data of the domains folder, arrays and webdataset is recognised."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from domtrans import DataReader, data_file, is_remote, scan_images
from domtrans_files.shard_files import is_shard, name_of

ARRAY_SUFFIXES = (".npz", ".npy")


class FolderReader(DataReader):
    """A folder with images."""

    def options(self, data: str) -> dict[str, Any] | None:
        """The path of a folder with images, at any depth."""
        path = Path(data).expanduser()
        return {"path": data} if path.is_dir() and scan_images(path).images else None


class ArrayReader(DataReader):
    """A file of arrays: by its name, or by its content."""

    def options(self, data: str) -> dict[str, Any] | None:
        """The path of an .npz or .npy file, whatever its name."""
        path = Path(data).expanduser()
        named = is_named_array(data) and not path.is_dir()
        return {"path": data} if named or (path.is_file() and holds_arrays(path)) else None

    def shape(self, options: Mapping[str, Any]) -> tuple[int, int] | None:
        """That of the array of images, from its header."""
        path, key, channels = data_file(str(options["path"])).fetch(), options.get("images"), options.get("channels")
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return sides(npy_header(file), channels)
        with zipfile.ZipFile(path) as archive:
            for name in [f"{key}.npy"] if key else archive.namelist():
                with archive.open(name) as file:
                    found = sides(npy_header(file), channels)
                if found:
                    return found
        return None


class ShardReader(DataReader):
    """Tar shards: a file, a pattern, a folder of them, or an address."""

    def options(self, data: str) -> dict[str, Any] | None:
        """The path, pattern or address of shards. An address that is not of arrays is one of shards."""
        path = Path(data).expanduser()
        if not is_remote(data) and path.is_dir():
            return {"path": data} if any(chain(path.glob("*.tar"), path.glob("*/*.tar"))) else None
        if is_named_array(data):
            return None
        named = is_remote(data) or "{" in data or is_shard(data)
        return {"path": data} if named or (path.is_file() and is_uncompressed_tar(path)) else None


def is_named_array(data: str) -> bool:
    """Whether a path or an address ends like that of a file of arrays."""
    return name_of(data).lower().endswith(ARRAY_SUFFIXES)


def holds_arrays(path: Path) -> bool:
    """Whether a file is in the format .npy or .npz."""
    try:
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                return True
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def is_uncompressed_tar(path: Path) -> bool:
    """Whether a file is a tar archive that shards can be read from."""
    try:
        tarfile.open(path, "r:").close()
    except (OSError, ValueError, tarfile.TarError):
        return False
    return True


def npy_header(file: Any) -> tuple[int, ...]:
    """The shape of the array in an open .npy file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape: tuple[int, ...] = read(file)[0]
    return shape


def sides(shape: Sequence[int], channels: int | None) -> tuple[int, int] | None:
    """Height and width of images [N, H, W], [N, H, W, C] or [N, C, H, W]; C is 1 or 3, unless ``channels`` is given."""
    if len(shape) == 4 and shape[-1] not in ((1, 3) if channels is None else (channels,)):
        return shape[2], shape[3]
    return (shape[1], shape[2]) if len(shape) in (3, 4) else None
