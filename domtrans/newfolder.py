"""A folder that is there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.tensors import BESIDE


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
