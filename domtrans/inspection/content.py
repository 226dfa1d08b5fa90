"""What a file is by its content, whatever its name says."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path

ARRAYS, SHARD, MATLAB, IDX, ARCHIVE = "arrays", "shard", "matlab", "idx", "archive"

MAGIC = {
    rb"\x93NUMPY": ARRAYS,
    rb"MATLAB 5.0 MAT-file": MATLAB,
    rb"\x00\x00\x08[\x01\x03]": IDX,
    rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!": ARCHIVE,
}
"""By the first bytes of a file: what it is."""


def kind_of(path: Path) -> str | None:
    """What a local file holds: one of the constants above, or None for anything else."""
    try:
        with path.open("rb") as file:
            start = file.read(20)
        found = next((kind for magic, kind in MAGIC.items() if re.match(magic, start, re.DOTALL)), None)
        if found is not None:
            return found
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return ARRAYS if any(name.endswith(".npy") for name in archive.namelist()) else ARCHIVE
        return SHARD if tarfile.is_tarfile(path) else None
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError):
        return None
