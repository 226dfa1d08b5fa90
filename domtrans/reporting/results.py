"""The results on a page: single values and tables, each with its meaning from the docstring of the metric."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from domtrans.evaluation.metric_rows import (
    MetricRow,
    MetricTable,
    declared_values,
    metric_rows,
    metric_tables,
    own_rows,
    row_order,
)
from domtrans.evaluation.results import NO_VALUE, run_rows
from domtrans.registry.docstrings import parse_docstring
from domtrans.registry.registry import Registry
from domtrans.reporting.records import Record


@dataclass(frozen=True)
class Result:
    """One result of the runs.

    Attributes:
        label: Its name.
        meaning: What the docstring of the metric says about it; empty if it says nothing.
        texts: Its value in every run.
        is_number: Whether it is a number; else it is text, such as the name of the data.
        is_declared: Whether the metric's plugin declares it, and it is no mere count.
    """

    label: str
    meaning: str
    texts: Sequence[str]
    is_number: bool
    is_declared: bool


@dataclass(frozen=True)
class ResultTable:
    """Results that repeat for several names.

    Attributes:
        table: The names and values.
        columns: The label of each column and its meaning.
    """

    table: MetricTable
    columns: Sequence[tuple[str, str]]


def page_results(records: Sequence[Record], registry: Registry) -> tuple[list[Result], list[ResultTable]]:
    """The results that any run has: single values, the main one first, and tables."""
    values = declared_values(registry, *(record.recipe for record in records))
    rows = [metric_rows(record.results, values) for record in records]
    columns = [{row.key: row for row in own_rows(of_run)} for of_run in rows]
    if len(records) > 1:
        for column, record in zip(columns, records, strict=True):
            column |= {word: MetricRow(word, word, text, text) for word, text in run_rows(record.results)}
    first = {key: row for column in reversed(columns) for key, row in column.items()}
    order = [*(key for key, value in values.items() if value.main), *row_order(values), *first]
    docstrings = [
        (name, inspect.cleandoc(registry.get("metric", part.name).factory.__doc__ or ""))
        for record in records
        for name, part in record.recipe.metrics.items()
        if part.name in registry.names("metric")
    ]
    single = [
        Result(
            first[key].label,
            _meaning(key, docstrings),
            [column[key].text if key in column else NO_VALUE for column in columns],
            isinstance(first[key].value, int | float),
            first[key].declared is not None and isinstance(first[key].value, float),
        )
        for key in sorted(first, key=order.index)
    ]
    tables = [
        ResultTable(table, [(column.label, _meaning(column.key, docstrings)) for column in table.columns])
        for table in metric_tables(*rows)
    ]
    return single, tables


def _meaning(key: str, docstrings: Sequence[tuple[str, str]]) -> str:
    """What the first metric that documents a key says about it; the metric ``a`` of the recipe about a key ``a.b``."""
    metric, _, own = key.rpartition(".")
    documented = (parse_docstring(text).help_of(own) for name, text in docstrings if metric in ("", name))
    return next(filter(None, documented), "").rpartition(f"{own}: ")[2]
