"""The tables of a study as text: for the terminal, and as ``table.md``. The input is the content of ``table.json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domtrans.evaluation.results import format_duration
from domtrans.reporting.markdown import markdown_table

Data = Mapping[str, Any]

NO_VALUE = "-"
SUPERVISED_NOTE = "\\* supervised: its losses use labels that the method does not have."


def to_markdown(data: Data) -> str:
    """The page ``table.md``."""
    return "\n".join(_page(data)) + "\n"


def cells(table: Data) -> tuple[list[str], list[list[str]]]:
    """The header and the measured rows of a table, with the time of g and D and published values in the last columns."""
    columns = table["columns"]
    header = ["", *(column["title"] for column in columns), "time of g and D", "published"]
    rows = [
        [
            row["name"] + (" *" if _is_supervised(row) else ""),
            *(format_summary(row["figures"].get(column["title"]), percent=column["percent"]) for column in columns),
            format_duration(row["training_seconds"]["mean"]) if row["training_seconds"] else NO_VALUE,
            "; ".join(cite(value, columns) for value in row["published"]) or NO_VALUE,
        ]
        for row in table["rows"]
        if is_measured(row)
    ]
    methods = [[value["method"], *(NO_VALUE for _ in columns), NO_VALUE, cite(value, columns)] for value in table["published"]]
    return header, rows + methods


def format_summary(summary: Data | None, *, percent: bool) -> str:
    """Mean and deviation, e.g. ``93.0 ± 0.4 %``."""
    if summary is None:
        return NO_VALUE
    scale, unit = (100, " %") if percent else (1, "")
    mean, deviation = scale * summary["mean"], summary["std"]
    places = 1 if percent else max(0, 2 - math.floor(math.log10(abs(mean) or 1)))  # three digits of the mean
    return f"{mean:.{places}f}{'' if deviation is None else f' ± {scale * deviation:.{places}f}'}{unit}"


def cite(published: Data, columns: Sequence[Data]) -> str:
    """``90.66 % (Taigman et al. 2017, table 1)``, after the title of the column if it is not the first."""
    column = next(column for column in columns if column["title"] == (published["column"] or columns[0]["title"]))
    value = f"{100 * published['value']:.2f} %" if column["percent"] else f"{published['value']:g}"
    return f"{'' if column is columns[0] else column['title'] + ' '}{value} ({published['source']})"


def is_measured(row: Data) -> bool:
    """Whether a row has a result or an error yet."""
    return bool(row["seeds"] or row["failed"])


def _page(data: Data) -> Iterator[str]:
    yield f"# Study {data['study']}"
    yield ""
    yield data["about"]
    yield ""
    yield f"    {data['command']}"
    yield ""
    yield "Values are means over seeds ± the sample standard deviation. Published values were measured by their authors, on"
    yield "their data and with their networks. The data used here is given below for every row. The time is the mean"
    yield "wall-clock time of a run in which g and D were trained; f and the measurements are not in it."
    yield ""
    for table in data["tables"]:
        if any(map(is_measured, table["rows"])):
            yield from _table(table)
    yield from _score(data["label_free_score"])
    yield "## Rows"
    yield ""
    rows = [row for table in data["tables"] for row in table["rows"] if is_measured(row)]
    for name in dict.fromkeys(row["name"] for row in rows):
        yield from _row([row for row in rows if row["name"] == name])


def _table(table: Data) -> Iterator[str]:
    header, rows = cells(table)
    yield f"## {table['title']}"
    yield ""
    yield table["about"]
    yield ""
    yield from markdown_table(header, rows)
    yield ""
    if any(map(_is_supervised, table["rows"])):
        yield SUPERVISED_NOTE
        yield ""


def _score(score: Data) -> Iterator[str]:
    correlation = "too few runs to compute it" if score["spearman"] is None else f"{score['spearman']:.2f}"
    yield "## Label-free score"
    yield ""
    yield "Spearman's rank correlation of `validation.score`, which needs no labels, with the column"
    yield f"'{score['figure']}', over the last models of {score['runs']} runs: {correlation}."
    yield ""


def _row(places: Sequence[Data]) -> Iterator[str]:
    """The section about a row: its commands, seeds, data and images. ``places``: the row in every table that has it."""
    row = places[0]
    yield f"### {row['name']}"
    yield ""
    yield row["about"]
    yield ""
    for command in dict.fromkeys([row["command"], *(command for place in places for command in place["measured_by"])]):
        yield f"    {command}"
    yield ""
    if row["runs"] != row["name"]:
        yield f"It shares the runs of {row['runs']}, which has the same recipe."
    if row["seeds"]:
        data = dict.fromkeys(data for place in places for data in place["data"])
        seeds = ", ".join(map(str, row["seeds"]))
        yield f"Seeds {seeds}. Supervision: {row['supervision'] or 'not stated'}. Data: {'; '.join(data)}."
    for seed, reason in row["failed"].items():
        yield f"Seed {seed} failed: {reason}."
    yield ""
    for caption, file in row["pictures"].items():
        yield f"![{row['name']}: {caption}]({file})"
        yield ""


def _is_supervised(row: Data) -> bool:
    return str(row["supervision"]).startswith("supervised")
