"""A study: experiments side by side in tables, each beside what has been published of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from domtrans.errors import DomtransError
from domtrans.registry.parts import Part, did_you_mean
from domtrans.registry.registry import Registry

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""Of a row: it names a folder too."""
ANYTHING = TypeAdapter(Any)


@dataclass(frozen=True)
class Published:
    """A figure from elsewhere. ``value``: as results give it, so 0.9066 for 90.66 %.

    ``source``: whose it is, e.g. "Taigman et al. 2017, table 1". ``column``: title of the column that it belongs to; empty:
    the first. ``method``: what it is a figure of, where no row of the study is.
    """

    value: float
    source: str
    column: str = ""
    method: str = ""


@dataclass(frozen=True)
class Column:
    """A figure of every row. ``figure``: where the results have it, e.g. "accuracy", or "per_class.3" in a list.

    ``measured``: changes to what ``evaluate`` measures (source, target, metrics); without any, what training measured.
    ``percent``: whether it is a share.
    """

    title: str
    figure: str
    measured: Mapping[str, Any] = field(default_factory=dict)
    percent: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", plain(self.measured))


@dataclass(frozen=True)
class Row:
    """One experiment: a registered recipe with changes, by path. ``about``: a sentence on what is different and why.

    ``measured``: what is measured otherwise than the columns say. Rows with the same recipe and changes share their runs.
    """

    name: str
    about: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        for name in ("changes", "measured"):
            object.__setattr__(self, name, plain(getattr(self, name)))


@dataclass(frozen=True)
class Table:
    """Rows under one protocol. ``about``: how its figures are measured. ``published``: figures of what is no row here."""

    title: str
    about: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Study:
    """Tables of experiments. The first column of the first table is what the study is about.

    Raises DomtransError for names that cannot be folders, one name for two experiments, and figures of no column.
    """

    name: str
    about: str
    tables: tuple[Table, ...]

    def __post_init__(self) -> None:
        known: dict[str, Row] = {}
        for row in self.rows():
            first = known.setdefault(row.name, row)
            if not NAME.fullmatch(row.name):
                raise DomtransError(f"the study '{self.name}' has a row '{row.name}': use small letters, digits and hyphens")
            if (first.recipe, first.changes) != (row.recipe, row.changes):
                raise DomtransError(f"the study '{self.name}' has two experiments called '{row.name}'; rename one")
        for table in self.tables:
            titles = [column.title for column in table.columns]
            cited = [one.column for one in (*table.published, *(figure for row in table.rows for figure in row.published))]
            unknown = [title for title in cited if title and title not in titles]
            if not titles or unknown:
                wrong = f"cites a figure of '{unknown[0]}', which is no column" if unknown else "has no columns"
                raise DomtransError(f"the table '{table.title}' of the study '{self.name}' {wrong}")

    def rows(self) -> Iterator[Row]:
        """The rows of all tables, in order; one that is in several tables comes as often."""
        return (row for table in self.tables for row in table.rows)


def plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes as JSON can hold them; parts become tables."""
    found: dict[str, Any] = ANYTHING.dump_python(dict(changes), mode="json")
    return found


def find_study(name: str, options: Mapping[str, Any], registry: Registry) -> Study:
    """A registered study with options; raises DomtransError if there is none, or it does not take them."""
    study = registry.build("study", Part(name=name, options=dict(options)))
    if not isinstance(study, Study):
        owner = registry.get("study", name).owner
        raise DomtransError(f"the study '{name}' of plugin '{owner}' returned {type(study).__name__}, not a Study")
    return study


def chosen(study: Study, only: tuple[str, ...]) -> list[str]:
    """Names of the rows asked for, or of all, in order; raises DomtransError for one that there is not."""
    names = list(dict.fromkeys(row.name for row in study.rows()))
    for name in only:
        if name not in names:
            raise DomtransError(f"the study '{study.name}' has no row '{name}'{did_you_mean(name, names, 'rows')}")
    return [name for name in names if name in only or not only]
