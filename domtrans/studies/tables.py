"""The tables of a study as data: measured values next to published ones."""

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
class RunResults:
    """What was measured of one run.

    Args:
        passes: The results of each evaluation, by ``evaluation_key``.
        score: The label-free score of the last model.
        training_seconds: Wall-clock time in which g and D were trained. f is left out: rows that fit it alike share it by the
            cache.
    """

    passes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    score: float | None = None
    training_seconds: float | None = None

    def value(self, column: Column, row: Row) -> float | None:
        """The value for a cell of a table; None if it was not measured."""
        return value_at(self.passes.get(evaluation_key(evaluation_changes(column, row)), {}), column.figure)


@dataclass(frozen=True)
class StudyResults:
    """All results of a study so far.

    Args:
        study: The study.
        path: Its folder.
        changes: Changes to every row.
        runs_of: For each row, the name of the row whose runs it shares.
        measured: Results of runs, by that name, then by seed.
        failed: Error messages, likewise.
        images: Captions of image files with their paths, by that name.
    """

    study: Study
    path: Path
    changes: Sequence[str]
    runs_of: Mapping[str, str]
    measured: Mapping[str, Mapping[int, RunResults]]
    failed: Mapping[str, Mapping[int, str]]
    images: Mapping[str, Mapping[str, str]]


def evaluation_changes(column: Column, row: Row) -> dict[str, Any]:
    """The changes to ``evaluate`` that a cell needs; empty: the results of training."""
    return {**column.measured, **row.measured}


def evaluation_key(changes: Mapping[str, Any]) -> str:
    """A key for changes to ``evaluate``; cells with the same key share one evaluation."""
    return json.dumps(changes, sort_keys=True)


def assignments(changes: Mapping[str, Any]) -> list[str]:
    """Changes as ``path=value`` strings."""
    return [assignment(path, value) for path, value in changes.items()]


def tables_of(results: StudyResults) -> dict[str, Any]:
    """``{"tables": [...], "label_free_score": {...}}`` as plain JSON values."""
    tables = [
        {
            "title": table.title,
            "about": table.about,
            "columns": [asdict(column) for column in table.columns],
            "rows": [_row(results, table, row) for row in table.rows],
            "published": [asdict(one) for one in table.published],
        }
        for table in results.study.tables
    ]
    return {"tables": tables, "label_free_score": _label_free_score(results)}


def value_at(results: Mapping[str, Any], path: str) -> float | None:
    """The number at a path of the results, e.g. "accuracy" or "per_class.3"; None if there is none."""
    value: Any = {key: value for section in in_sections(results).values() for key, value in section.items()}
    for step in path.split("."):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, TypeError, ValueError):
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def summarise(values: Mapping[int, float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one seed) and the values by seed."""
    numbers = list(values.values())
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {"mean": statistics.fmean(numbers), "std": deviation, "values": {str(seed): x for seed, x in values.items()}}


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation; None for fewer than three pairs, or if all values of one side are equal."""
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(pairs).statistic)


def _row(results: StudyResults, table: Table, row: Row) -> dict[str, Any]:
    name = results.runs_of[row.name]
    runs = results.measured.get(name, {})
    figures = {
        column.title: {seed: value for seed, run in runs.items() if (value := run.value(column, row)) is not None}
        for column in table.columns
    }
    seeds = sorted({seed for values in figures.values() for seed in values})
    keys = dict.fromkeys(evaluation_key(evaluation_changes(column, row)) for column in table.columns)
    evaluations = [in_sections(runs[seed].passes[key]) for seed in seeds[:1] for key in keys if key in runs[seed].passes]
    times = {seed: time for seed in seeds if (time := runs[seed].training_seconds) is not None}
    supervision = next((str(one["checks"]["supervision"]) for one in evaluations if "supervision" in one["checks"]), "")
    data = dict.fromkeys(f"{one['run']['source']} → {one['run']['target']}" for one in evaluations if "source" in one["run"])
    return {
        "name": row.name,
        "about": row.about,
        "runs": name,
        "command": _train_command(results, row),
        "measured_by": list(dict.fromkeys(_evaluate_commands(results, table, row))),
        "seeds": seeds,
        "figures": {title: summarise(values) for title, values in figures.items() if values},
        "training_seconds": summarise(times) if times else None,
        "published": [asdict(one) for one in row.published],
        "supervision": supervision,
        "data": list(data),
        "failed": {str(seed): reason for seed, reason in results.failed.get(name, {}).items()},
        "pictures": dict(results.images.get(name, {})) if row.name == name else {},
    }


def _label_free_score(results: StudyResults) -> dict[str, Any]:
    """The rank correlation of the label-free score with the main value of the study, over all runs."""
    main = results.study.tables[0].columns[0]
    rows = {name: row for row in results.study.rows() if (name := results.runs_of[row.name]) == row.name and not row.measured}
    pairs = [
        (run.score, value)
        for name, row in rows.items()
        for run in results.measured.get(name, {}).values()
        if run.score is not None and (value := run.value(main, row)) is not None
    ]
    return {"figure": main.title, "spearman": rank_correlation(pairs), "runs": len(pairs)}


def _train_command(results: StudyResults, row: Row) -> str:
    words = ["domtrans", "train", row.recipe, *assignments(row.changes), *results.changes]
    return shlex.join([*words, "--seed", "SEED", "--out", _run_folder(results, row)])


def _evaluate_commands(results: StudyResults, table: Table, row: Row) -> Iterator[str]:
    for column in table.columns:
        if changes := evaluation_changes(column, row):
            yield shlex.join(["domtrans", "evaluate", _run_folder(results, row), *assignments(changes)])


def _run_folder(results: StudyResults, row: Row) -> str:
    return str(results.path / results.runs_of[row.name] / "seed-SEED")
