"""Atomic writes: a file or folder exists completely or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.storage.address import check_local

UNFINISHED_PREFIX = ".being-written-"
"""Beginning of the names of incomplete files and folders. A killed process may leave one behind."""


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace the content of a file in one step. The old content stays until all of the new is written.

    Args:
        path: The file, new or not.
        content: Its new content.
        durable: Wait for the disk, so that the file survives a power cut. Costs time; not needed for files that are soon
            written again.

    Raises:
        DomtransError: If the file cannot be written.
    """
    check_local(path, "a file that is written")
    replaced = False
    try:
        handle, temporary = tempfile.mkstemp(prefix=UNFINISHED_PREFIX, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
            replaced = True
            if durable:
                _sync_folder(path.parent)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        kept = "; its previous content is unchanged" if not replaced and os.path.isfile(path) else ""  # noqa: PTH113 - never raises
        raise DomtransError(f"{path} cannot be written: {reason}{kept}") from None


def _sync_folder(folder: Path) -> None:
    """Make a renaming survive a power cut, if the system can."""
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
    """Yield a temporary folder to fill. It becomes ``path`` if the block succeeds, and is deleted otherwise.

    Raises:
        DomtransError: If ``path`` exists and is not an empty folder, or cannot be written.
    """
    check_local(path, "a folder that is written")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DomtransError(f"{path} exists already; choose another folder or delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists():
                path.rmdir()
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise DomtransError(f"the folder {path} cannot be written: {error.strerror or error}") from None
