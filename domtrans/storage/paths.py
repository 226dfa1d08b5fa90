"""The cache folder, and what to say about a path that should be a run."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return ``$DOMTRANS_CACHE``, or the user's cache folder for domtrans."""
    folder = os.environ.get("DOMTRANS_CACHE")
    return Path(expand_home(folder)) if folder else Path(platformdirs.user_cache_dir("domtrans", appauthor=False))


def why_no_run(path: Path) -> str:
    """Say why a path that is not a folder is not a run. Where ``runs/PATH`` is a folder, name it."""
    if path.is_file():
        return "it is a file, not a folder"
    other = Path("runs") / path
    return f"no such folder; did you mean {other}?" if other.is_dir() and other != path else "no such folder"


def expand_home(text: str) -> str:
    """A path that begins with ``~/`` in the home folder; any other text unchanged."""
    return os.path.expanduser(text) if text == "~" or text.startswith(("~/", "~\\")) else text  # noqa: PTH111 - keeps addresses
