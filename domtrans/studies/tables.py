"""The tables of a study as data: what was measured of its runs beside what has been published."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from domtrans.evaluation.results import in_sections
from domtrans.recipe.overrides import assignment
from domtrans.studies.study import Column, Row, Study, Table


@dataclass(frozen=True)
class Measured:
    """What was measured of one run. ``passes``: results by ``pass_key``. ``score``: the label-free one of its last model."""

    passes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    score: float | None = None

    def figure(self, column: Column, row: Row) -> float | None:
        """The row's figure of a column, or None."""
        return figure_at(self.passes.get(pass_key(pass_of(column, row)), {}), column.figure)


@dataclass(frozen=True)
class Found:
    """All that a study has found so far.

    ``path``: the study's folder. ``changes``: made to every row. ``runs_of``: under whose name the runs of a row are.
    ``measured``, ``failed``: figures and reasons, by that name, then by seed. ``pictures``: likewise, what is shown: its file.
    """

    study: Study
    path: Path
    changes: Sequence[str]
    runs_of: Mapping[str, str]
    measured: Mapping[str, Mapping[int, Measured]]
    failed: Mapping[str, Mapping[int, str]]
    pictures: Mapping[str, Mapping[str, str]]


def pass_of(column: Column, row: Row) -> dict[str, Any]:
    """What is measured for a cell, as changes to ``evaluate``; empty: what training measured."""
    return {**column.measured, **row.measured}


def pass_key(changes: Mapping[str, Any]) -> str:
    """The name of a pass: cells of one name are measured together."""
    return json.dumps(changes, sort_keys=True)


def assignments(changes: Mapping[str, Any]) -> list[str]:
    """Changes as a command line has them."""
    return [assignment(path, value) for path, value in changes.items()]


def tables_of(found: Found) -> dict[str, Any]:
    """``{"tables": [...], "label_free_score": {...}}``, as JSON can hold it."""
    tables = [
        {
            "title": table.title,
            "about": table.about,
            "columns": [asdict(column) for column in table.columns],
            "rows": [_row(found, table, row) for row in table.rows],
            "published": [asdict(one) for one in table.published],
        }
        for table in found.study.tables
    ]
    return {"tables": tables, "label_free_score": _label_free_score(found)}


def figure_at(results: Mapping[str, Any], path: str) -> float | None:
    """The number at a path of the results, e.g. "accuracy" or "per_class.3"; None where there is none."""
    found: Any = {key: value for section in in_sections(results).values() for key, value in section.items()}
    for step in path.split("."):
        try:
            found = found[int(step)] if isinstance(found, list) else found[step]
        except (LookupError, TypeError, ValueError):
            return None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def summary(values: Mapping[int, float]) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds, and the values by seed; no deviation for one seed."""
    numbers = list(values.values())
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {"mean": statistics.fmean(numbers), "std": deviation, "values": {str(seed): x for seed, x in values.items()}}


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's; None for fewer than three pairs, or where one side is the same throughout."""
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(pairs).statistic)


def _row(found: Found, table: Table, row: Row) -> dict[str, Any]:
    name = found.runs_of[row.name]
    runs = found.measured.get(name, {})
    figures = {
        column.title: {seed: value for seed, run in runs.items() if (value := run.figure(column, row)) is not None}
        for column in table.columns
    }
    seeds = sorted({seed for values in figures.values() for seed in values})
    keys = dict.fromkeys(pass_key(pass_of(column, row)) for column in table.columns)
    results = [in_sections(runs[seed].passes[key]) for seed in seeds[:1] for key in keys if key in runs[seed].passes]
    supervision = next((str(one["checks"]["supervision"]) for one in results if "supervision" in one["checks"]), "")
    data = dict.fromkeys(f"{one['run']['source']} → {one['run']['target']}" for one in results if "source" in one["run"])
    return {
        "name": row.name,
        "about": row.about,
        "runs": name,
        "command": _train_command(found, row),
        "measured_by": list(dict.fromkeys(_evaluate_commands(found, table, row))),
        "seeds": seeds,
        "figures": {title: summary(values) for title, values in figures.items() if values},
        "published": [asdict(one) for one in row.published],
        "supervision": supervision,
        "data": list(data),
        "failed": {str(seed): reason for seed, reason in found.failed.get(name, {}).items()},
        "pictures": dict(found.pictures.get(name, {})) if row.name == name else {},
    }


def _label_free_score(found: Found) -> dict[str, Any]:
    """How the label-free score ranks the runs, against what the study is about."""
    first = found.study.tables[0].columns[0]
    rows = {name: row for row in found.study.rows() if (name := found.runs_of[row.name]) == row.name and not row.measured}
    pairs = [
        (run.score, value)
        for name, row in rows.items()
        for run in found.measured.get(name, {}).values()
        if run.score is not None and (value := run.figure(first, row)) is not None
    ]
    return {"figure": first.title, "spearman": rank_correlation(pairs), "runs": len(pairs)}


def _train_command(found: Found, row: Row) -> str:
    words = ["domtrans", "train", row.recipe, *assignments(row.changes), *found.changes]
    return shlex.join([*words, "--seed", "SEED", "--out", _run(found, row)])


def _evaluate_commands(found: Found, table: Table, row: Row) -> Iterator[str]:
    for column in table.columns:
        if changes := pass_of(column, row):
            yield shlex.join(["domtrans", "evaluate", _run(found, row), *assignments(changes)])


def _run(found: Found, row: Row) -> str:
    return str(found.path / found.runs_of[row.name] / "seed-SEED")
