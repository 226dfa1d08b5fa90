"""``report``: one run or several as a page of HTML that needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.reporting.page import GENERATOR, render
from domtrans.reporting.records import read_records
from domtrans.runs.folder import RunFolder
from domtrans.storage.atomic import write_bytes

MARK = f'<meta name="generator" content="{GENERATOR.partition(" ")[0]} '.encode()
"""What the head of every report holds, of whatever version."""
ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What comes of a log or results that somebody else has written, for they may hold anything."""


def report(runs: str | Path | Sequence[str | Path], out: str | Path | None = None, *, registry: Registry | None = None) -> Path:
    """Write a report on a run, or on several side by side; returns its path.

    ``runs``: folders of runs, finished or not. ``out``: the file, by default ``report.html`` in the folder of a single run and
    in the current folder for several. It is read from what the folders hold: no model is loaded, and nothing computed anew.
    Raises DomtransError for a folder that is no run, or an ``out`` that is there and is no report.
    """
    paths = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    if not paths:
        raise DomtransError("a report needs a run; name the folder of one or several")
    default = RunFolder(paths[0]).report_file if len(paths) == 1 else Path("report.html")
    target = default if out is None else Path(out)
    try:
        records = read_records(paths)
        _check_free(target)
        page = render(records, registry or load_plugins().registry)
    except ODD as error:
        raise DomtransError(
            f"{', '.join(map(str, paths))}: metrics.jsonl or results.json holds what domtrans would not have written ({error})"
        ) from error
    write_bytes(target, page.encode(errors="replace"), durable=False)
    return target


def _check_free(target: Path) -> None:
    """Refuse to replace anything but an earlier report."""
    try:
        if not target.parent.is_dir():
            raise DomtransError(f"{target} cannot be written: there is no folder {target.parent}")
        there, ours = target.exists(), False
        if target.is_file():  # a pipe would be waited for
            with target.open("rb") as file:
                ours = MARK in file.read(1000)
    except OSError as error:
        raise DomtransError(f"{target} cannot be written: {error.strerror}") from None
    if there and not ours:
        raise DomtransError(f"{target} is there and is no report of domtrans; choose another file with -o")
