"""The options of a transfer, checked and with their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from domtrans.compute import launcher
from domtrans.data.aspect import Aspect, check_aspect
from domtrans.data.value_range import ValueRange, check_range
from domtrans.errors import DomtransError
from domtrans.registry.parts import Part

BATCH_SIZE = 64
"""Larger batches do not fit a CPU's caches, and are slower there."""
MAX_DEFAULT_WORKERS = 8
"""Threads at most, unless the caller chooses a number."""
MAX_BATCH_BYTES = 512 * 2**20
"""Memory of a batch of output images; larger images make smaller batches."""
LIMITS = {"size": 8192, "batch_size": 65536, "workers": 256}
"""Largest value of each option."""

Format = Literal["png", "jpg", "webp", "svg"]


@dataclass(frozen=True)
class TransferOptions:
    """How files are transferred; ``domtrans.transfer`` describes each option. Raises DomtransError for a wrong value."""

    format: Format | None = None
    size: int | None = None
    side_by_side: bool = False
    crop: str | Part | None = None
    sheet: Path | None = None
    batch_size: int = BATCH_SIZE
    workers: int = 1
    skip_existing: bool = False
    force: bool = False
    part: tuple[int, int] = (0, 1)
    aspect: Aspect | None = None
    max_pixels: int | None = None
    parameters: Path | None = None
    project: bool = False
    tiles: bool = False
    keep_size: bool = False
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= limit:
                raise DomtransError(f"{name}={value} is out of range; it must be between 1 and {limit}")
        for name in ("size", "side_by_side", "crop", "sheet", "aspect", "parameters", "project") if self.tiles else ():
            if getattr(self, name):
                raise DomtransError(f"a transfer in tiles keeps size and shape of a picture; leave out {name} or tiles")
        for name in ("size", "crop", "tiles") if self.keep_size else ():
            if getattr(self, name):
                raise DomtransError(f"keep_size and {name} exclude each other; leave out one of them")
        if self.max_pixels is not None and self.max_pixels < 0:
            raise DomtransError(f"max_pixels={self.max_pixels} is out of range; it must be 0 (no limit) or larger")
        check_aspect(self.aspect)
        if self.value_range is not None:
            check_range(self.value_range, "value_range")
        if self.format not in (None, *get_args(Format)):
            raise DomtransError(f"the format '{self.format}' is not supported; choose {', '.join(get_args(Format))}")

    @property
    def suffix(self) -> str | None:
        """Suffix of the format, if one was chosen."""
        return None if self.format is None else f".{self.format}"

    def batch_size_for(self, output_size: int) -> int:
        """Images per batch of outputs of ``output_size`` pixels."""
        return max(1, min(self.batch_size, MAX_BATCH_BYTES // (4 * output_size**2)))


def default_workers() -> int:
    """One thread per core, up to ``MAX_DEFAULT_WORKERS``."""
    return min(MAX_DEFAULT_WORKERS, launcher.cores())
