"""The tables of a study in words: cells for a terminal, and ``table.md``. Everything here reads what ``table.json`` holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domtrans.reporting.markdown import markdown_table

Data = Mapping[str, Any]

NOTHING = "-"
"""Where there is no figure."""
SUPERVISED = "\\* supervised: its losses were given labels that the method does not have."


def to_markdown(data: Data) -> str:
    """The page, from the content of ``table.json``."""
    return "\n".join(_page(data)) + "\n"


def cells(table: Data) -> tuple[list[str], list[list[str]]]:
    """A table's header and rows: what was found so far, and beside it what has been published."""
    columns = table["columns"]
    header = ["", *(column["title"] for column in columns), "published"]
    rows = [
        [
            row["name"] + (" *" if _is_supervised(row) else ""),
            *(in_words(row["figures"].get(column["title"]), percent=column["percent"]) for column in columns),
            "; ".join(cite(one, columns) for one in row["published"]) or NOTHING,
        ]
        for row in table["rows"]
        if is_measured(row)
    ]
    return header, rows + [[one["method"], *(NOTHING for _ in columns), cite(one, columns)] for one in table["published"]]


def in_words(found: Data | None, *, percent: bool) -> str:
    """``93.0 ± 0.4 %`` of a summary."""
    if found is None:
        return NOTHING
    scale, unit = (100, " %") if percent else (1, "")
    mean, deviation = scale * found["mean"], found["std"]
    places = 1 if percent else max(0, 2 - math.floor(math.log10(abs(mean) or 1)))  # three digits of the mean
    return f"{mean:.{places}f}{'' if deviation is None else f' ± {scale * deviation:.{places}f}'}{unit}"


def cite(one: Data, columns: Sequence[Data]) -> str:
    """``90.66 % (Taigman et al. 2017, table 1)``, with the column's title where it is not the first."""
    column = next(column for column in columns if column["title"] == (one["column"] or columns[0]["title"]))
    value = f"{100 * one['value']:.2f} %" if column["percent"] else f"{one['value']:g}"
    return f"{'' if column is columns[0] else column['title'] + ' '}{value} ({one['source']})"


def is_measured(row: Data) -> bool:
    """Whether there is anything to say of a row yet."""
    return bool(row["seeds"] or row["failed"])


def _page(data: Data) -> Iterator[str]:
    yield f"# Study {data['study']}"
    yield ""
    yield data["about"]
    yield ""
    yield f"    {data['command']}"
    yield ""
    yield "A figure is the mean over seeds ± the sample standard deviation. What is published was measured by its authors, on"
    yield "their data and with their networks; the data here is named with every row."
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
        yield SUPERVISED
        yield ""


def _score(score: Data) -> Iterator[str]:
    found = "there are too few runs to say" if score["spearman"] is None else f"{score['spearman']:.2f}"
    yield "## The label-free score"
    yield ""
    yield "Spearman's rank correlation of `validation.score`, which looks at training images without labels, with the column"
    yield f"'{score['figure']}' over the last models of {score['runs']} runs: {found}."
    yield ""


def _row(places: Sequence[Data]) -> Iterator[str]:
    """What a row is, how it was made and measured; ``places``: the row in every table that has it."""
    row = places[0]
    yield f"### {row['name']}"
    yield ""
    yield row["about"]
    yield ""
    for command in dict.fromkeys([row["command"], *(command for place in places for command in place["measured_by"])]):
        yield f"    {command}"
    yield ""
    if row["runs"] != row["name"]:
        yield f"Measured on the runs of {row['runs']}, which train alike."
    if row["seeds"]:
        data = dict.fromkeys(data for place in places for data in place["data"])
        seeds = ", ".join(map(str, row["seeds"]))
        yield f"Seeds {seeds}. Supervision: {row['supervision'] or 'not said'}. Data: {'; '.join(data)}."
    for seed, reason in row["failed"].items():
        yield f"Seed {seed} failed: {reason}."
    yield ""
    for what, file in row["pictures"].items():
        yield f"![{row['name']}: {what}]({file})"
        yield ""


def _is_supervised(row: Data) -> bool:
    return str(row["supervision"]).startswith("supervised")
