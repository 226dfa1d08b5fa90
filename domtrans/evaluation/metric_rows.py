"""The metrics of a run as rows and tables for the terminal, a report and a model card, as their plugins declare them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from domtrans.evaluation.results import NO_VALUE, format_value, in_sections
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import PLACEHOLDER, MetricValue, Registry

LABELS = {"source": "source data", "target": "target data", "n": "test images", "supervision": "supervision"}


class MetricRow(NamedTuple):
    """One row of a table of metrics.

    Attributes:
        key: The key in the results; ``a.b`` for a value in a table ``a``.
        label: The name for people.
        value: The value as measured.
        text: The value as text.
        main: Whether the run is judged by this value.
        declared: How the metric's plugin declares it; None if it does not.
        name: Of a value that belongs into a table: the name of its row.
    """

    key: str
    label: str
    value: Any
    text: str
    main: bool = False
    declared: MetricValue | None = None
    name: str = ""


class MetricTable(NamedTuple):
    """The values that metrics return for several names, of one run or of several.

    Attributes:
        names: What the names are, e.g. "attribute".
        columns: What was measured for every name.
        runs: The indices of the runs that have such values.
        rows: Every name and its values as text: for each column those of all ``runs``.
    """

    names: str
    columns: tuple[MetricValue, ...]
    runs: tuple[int, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def declared_values(registry: Registry, *recipes: Recipe) -> dict[str, MetricValue]:
    """How metrics show their values, by key, as plugins declare it. The metrics of ``recipes`` take precedence."""
    known = registry.names("metric")
    used = {name: part.name for recipe in recipes for name, part in recipe.metrics.items() if part.name in known}
    values = {value.key: value for name in [*known, *used.values()] for value in registry.get("metric", name).values}
    # measure() puts the metric's name in the recipe before a key that is taken.
    return values | {
        f"{name}.{value.key}": replace(value, key=f"{name}.{value.key}", label=f"{name}: {value.label}", main=False)
        for name, metric in used.items()
        for value in registry.get("metric", metric).values
    }


def declaration_of(key: str, values: Mapping[str, MetricValue]) -> tuple[MetricValue | None, str]:
    """What is declared of a value, or None; and the text in its key that stands for the name in braces, or ""."""
    if key in values:
        return values[key], ""
    patterns = [(value, pattern) for value in values.values() if (pattern := _pattern(value.key))]
    found = [(value, match[1]) for value, pattern in patterns if (match := pattern.fullmatch(key))]
    return min(found, key=lambda one: len(one[1]), default=(None, ""))  # the one that says most of the key


def row_order(values: Mapping[str, MetricValue]) -> list[str]:
    """The keys of the rows that come first, in their order."""
    return ["source", "target", *values, "n", "supervision"]


def metric_rows(results: Mapping[str, Any], values: Mapping[str, MetricValue]) -> list[MetricRow]:
    """What was measured, and on which data. The number of test images is there once if all metrics have the same."""
    sections = in_sections(results)
    rows = {row.key: row for key, value in sections["metrics"].items() for row in _rows_of(key, value, values)}
    if "n" in rows:
        rows = {key: row for key, row in rows.items() if not key.endswith(".n") or row.value != rows["n"].value}
    for section, key in (("run", "source"), ("run", "target"), ("checks", "supervision")):
        if key in sections[section]:
            rows |= {row.key: row for row in _rows_of(key, sections[section][key], values)}
    return [rows[key] for key in dict.fromkeys([*row_order(values), *rows]) if key in rows]


def own_rows(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The rows that are not in a table."""
    return [row for row in rows if not row.name]


def metric_tables(*runs: Sequence[MetricRow]) -> list[MetricTable]:
    """The rows of one run, or of several, that repeat for several names, as one table for each kind of name."""
    tables: dict[str, list[tuple[int, MetricValue, MetricRow]]] = {}
    for run, rows in enumerate(runs):
        for row in rows:
            if row.declared and row.name:
                tables.setdefault(PLACEHOLDER.findall(row.declared.key)[0], []).append((run, row.declared, row))
    return [_table_of(names, cells) for names, cells in tables.items()]


def _table_of(names: str, cells: Sequence[tuple[int, MetricValue, MetricRow]]) -> MetricTable:
    text = {(row.name, column.key, run): row.text for run, column, row in cells}
    columns = {column.key: column for _, column, _ in cells}
    runs = sorted({run for run, _, _ in cells})
    rows = [
        (name.replace("_", " "), tuple(text.get((name, key, run), NO_VALUE) for key in columns for run in runs))
        for name in dict.fromkeys(row.name for _, _, row in cells)
    ]
    return MetricTable(names.replace("_", " "), tuple(columns.values()), tuple(runs), tuple(rows))


def _rows_of(key: str, value: Any, values: Mapping[str, MetricValue]) -> list[MetricRow]:
    """The rows of one entry: none for a list, such as a confusion matrix; several for a table."""
    if isinstance(value, list | tuple):
        return []
    if isinstance(value, Mapping):
        return [row for name, item in value.items() for row in _rows_of(f"{key}.{name}", item, values)]
    declared, name = declaration_of(key, values)
    label = LABELS.get(key, key.replace(".", ": ").replace("_", " ")) if declared is None or name else declared.label
    text = format_value(key, value, declared.unit if declared else None)
    return [MetricRow(key, label, value, text, declared is not None and declared.main, declared, name)]


@cache
def _pattern(key: str) -> re.Pattern[str] | None:
    """A declared key with a name in braces as a pattern, in which any text without a full stop can stand for the name."""
    before, *rest = PLACEHOLDER.split(key)
    return re.compile(f"{re.escape(before)}([^.]+){re.escape(rest[-1])}") if rest else None
