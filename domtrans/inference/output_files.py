"""Writing output files: whole or not at all, and never over a file that domtrans did not write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from domtrans.errors import DomtransError
from domtrans.inference.output_mark import has_mark
from domtrans.inference.video import VIDEO_FORMATS, has_video_mark
from domtrans.storage.atomic import write_bytes


def write_output(target: Path | BinaryIO, content: bytes) -> Path:
    """Write a file and return its path. Raises DomtransError if it cannot be written."""
    if not isinstance(target, Path):
        target.write(content)
        return Path(str(getattr(target, "name", "the output")))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DomtransError(f"{target} cannot be written: {error.strerror}") from None
    write_bytes(target, content, durable=False)
    return target


def is_own(path: Path) -> bool:
    """Whether a file carries the mark of domtrans."""
    return has_video_mark(path) if path.suffix.lower() in VIDEO_FORMATS else has_mark(path)


def check_replaceable(targets: Iterable[Path]) -> None:
    """Raise DomtransError if a target exists and domtrans did not write it."""
    foreign = [target for target in targets if _is_foreign(target)]
    if foreign:
        others = len(foreign) - 1
        which = f"{foreign[0]} and {others:,} more exist and were" if others else f"{foreign[0]} exists and was"
        raise DomtransError(
            f"the output {which} not written by domtrans; choose another output, or replace with --force (Python: force=True)"
        )


def _is_foreign(path: Path) -> bool:
    try:
        if not path.exists() or path.is_dir():
            return False
    except OSError:  # an invalid name or a forbidden folder: writing reports it
        return False
    return not is_own(path)
