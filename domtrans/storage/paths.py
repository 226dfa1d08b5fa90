"""Where domtrans keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """``$DOMTRANS_CACHE``, or the user's cache folder for domtrans."""
    chosen = os.environ.get("DOMTRANS_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("domtrans", appauthor=False))
