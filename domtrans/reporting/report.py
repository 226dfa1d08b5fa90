"""``report``: one self-contained HTML page about one run, or about several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.pretrained.locate import is_address, local_path
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.reporting.page import GENERATOR, render
from domtrans.reporting.records import read_records
from domtrans.runs.folder import RunFolder
from domtrans.storage.address import check_local
from domtrans.storage.atomic import write_bytes

REPORT_MARK = f'<meta name="generator" content="{GENERATOR.partition(" ")[0]} '.encode()
"""Part of the head of every report, of any version."""
MAX_HEAD_BYTES = 1000
CONTENT_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What unexpected content of a log or of results can raise; these files may come from anybody."""


def report(runs: str | Path | Sequence[str | Path], out: str | Path | None = None, *, registry: Registry | None = None) -> Path:
    """Write a report on one run, or on several side by side.

    It is made from the files in the run folders: no model is loaded, and nothing is computed.

    Args:
        runs: One run folder or several, finished or not; also ``models:NAME`` or ``hf://OWNER/NAME``.
        out: The file. By default ``report.html``, in the folder of a single run of the user's, else in the current folder.
        registry: Parts to use; by default those of all plugins.

    Returns:
        The path of the report.

    Raises:
        DomtransError: If a folder is not a run, or ``out`` exists and is not a report.
    """
    names = [runs] if isinstance(runs, str | Path) else list(runs)
    if not names:
        raise DomtransError("a report needs at least one run; name its folder")
    if out is not None:
        check_local(out, "a page")
    paths = [local_path(name, whole=True) for name in names]
    is_single = len(paths) == 1 and not is_address(names[0])
    default = RunFolder(paths[0]).report_file if is_single else Path("report.html")
    target = default if out is None else Path(out)
    try:
        records = read_records(paths)
        check_replaceable(target, REPORT_MARK, "a report")
        page = render(records, registry or load_plugins().registry)
    except CONTENT_ERRORS as error:
        raise DomtransError(
            f"{', '.join(map(str, paths))}: metrics.jsonl or results.json has content that domtrans does not write ({error})"
        ) from error
    write_bytes(target, page.encode(errors="replace"), durable=False)
    return target


def check_replaceable(target: Path, mark: bytes, kind: str) -> None:
    """Raise DomtransError if a page cannot be written, or the file exists and is not a page of this kind.

    Args:
        target: The file.
        mark: Part of the head of every page of the kind.
        kind: The kind in words, e.g. "a report".
    """
    try:
        if not target.parent.is_dir():
            raise DomtransError(f"{target} cannot be written: there is no folder {target.parent}")
        exists, is_page = target.exists(), False
        if target.is_file():  # opening a pipe would block
            with target.open("rb") as file:
                is_page = mark in file.read(MAX_HEAD_BYTES)
    except OSError as error:
        raise DomtransError(f"{target} cannot be written: {error.strerror}") from None
    if exists and not is_page:
        raise DomtransError(f"{target} exists and is not {kind} of domtrans; choose another file with -o")
