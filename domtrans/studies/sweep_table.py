"""The trials of a sweep as ``table.md``, ``table.json`` and ``trials.png``. The input is the content of ``table.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from domtrans.reporting.markdown import markdown_table
from domtrans.reporting.plots import trials_png
from domtrans.storage.atomic import write_bytes, write_json

NO_VALUE = "-"
STATES = {
    "COMPLETE": "done",
    "PRUNED": "stopped early",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
"""Optuna's states in the words of the tables."""


def table_rows(trials: Iterable[Any], *, highest_first: bool) -> list[dict[str, Any]]:
    """Optuna's trials as plain values, the best first; those without a value are last."""
    rows = [
        {
            "trial": trial.number,
            "state": STATES[trial.state.name],
            "value": trial.value if trial.state.name == "COMPLETE" else None,
            "steps": max(trial.intermediate_values, default=0),
            "changes": trial.params,
            "error": trial.user_attrs.get("error", ""),
        }
        for trial in trials
    ]
    sign = -1 if highest_first else 1
    return sorted(rows, key=lambda row: (row["value"] is None, sign * (row["value"] or 0), row["trial"]))


def write_tables(folder: Path, data: Mapping[str, Any], *, picture: bool) -> None:
    """Replace the tables, and the picture if asked for."""
    write_json(folder / "table.json", data)
    write_bytes(folder / "table.md", ("\n".join(_page(data)) + "\n").encode())
    if picture:
        write_bytes(folder / "trials.png", trials_png(data), durable=False)


def cells(data: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table."""
    header = ["trial", data["by"], "state", "steps", *data["paths"]]
    return header, [
        [
            str(row["trial"]),
            NO_VALUE if row["value"] is None else f"{row['value']:.4g}",
            row["state"],
            str(row["steps"]),
            *(_short(row["changes"].get(path, NO_VALUE)) for path in data["paths"]),
        ]
        for row in data["trials"]
    ]


def _page(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Sweep of {data['recipe']}"
    yield ""
    yield f"Trials by `{data['by']}` at the last step, the {data['direction']} first. No trial was measured on test images."
    yield ""
    yield from markdown_table(*cells(data))
    yield ""
    for row in data["trials"]:
        if row["error"]:
            yield f"Trial {row['trial']} failed: {row['error']}."
            yield ""
    if data["command"]:
        yield "The best trial is trained and measured by"
        yield ""
        yield f"    {data['command']}"
        yield ""
    yield f"![{data['by']} of every trial, in their order and by each option](trials.png)"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
