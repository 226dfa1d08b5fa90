"""A folder that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domtrans.errors import DomtransError

BESIDE = ".being-written-"
"""How the names of files begin that are not whole yet; a killed process may leave one behind."""


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace ``path`` by ``content`` in one step: what was there stays until all of the new is on disk.

    ``durable``: wait for the disk, so that it holds through a power cut; not worth it for what is soon made again.
    """
    try:
        handle, beside = tempfile.mkstemp(prefix=BESIDE, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            Path(beside).chmod(0o644)
            Path(beside).replace(path)
            if durable:
                _sync_folder(path.parent)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DomtransError(f"{path} cannot be written: {reason}; what was there before is untouched") from None


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, beside ``path``, whose place it takes once the block has ended well; else it is removed.

    Raises DomtransError if there is something at ``path`` but an empty folder, or if nothing can be written there.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DomtransError(f"{path} is there already; choose another folder or delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=BESIDE, dir=path.parent))
        try:
            yield beside
            beside.chmod(0o755)
            if path.exists():
                path.rmdir()
            beside.rename(path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise DomtransError(f"the folder {path} cannot be written: {error.strerror or error}") from None
