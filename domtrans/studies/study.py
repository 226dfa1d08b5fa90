"""A study: experiments in tables, each next to published values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from domtrans.errors import DomtransError
from domtrans.registry.parts import Part, did_you_mean
from domtrans.registry.registry import Registry

ROW_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""A row's name is also the name of a folder."""
ANY_VALUE = TypeAdapter(Any)


@dataclass(frozen=True)
class Published:
    """A published value.

    Args:
        value: The value as in results, e.g. 0.9066 for 90.66 %.
        source: Where it was published, e.g. "Taigman et al. 2017, table 1".
        column: Title of the column that it belongs to; empty: the first.
        method: The method that was measured, if it is not a row of the study.
    """

    value: float
    source: str
    column: str = ""
    method: str = ""


@dataclass(frozen=True)
class Column:
    """A value that is shown for every row.

    Args:
        title: Heading of the column.
        figure: Path of the value in the results, e.g. "accuracy", or "per_class.3" for an item of a list.
        measured: Changes to what ``evaluate`` measures (source, target, metrics); without any, the results of training.
        percent: Whether the value is a share.
    """

    title: str
    figure: str
    measured: Mapping[str, Any] = field(default_factory=dict)
    percent: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", plain(self.measured))


@dataclass(frozen=True)
class Row:
    """One experiment: a registered recipe with changes. Rows with the same recipe and changes share their runs.

    Args:
        name: Lower-case letters, digits and hyphens.
        about: A sentence on what is different, and why.
        recipe: Name of a registered recipe.
        changes: Changes to the recipe, by path.
        measured: Changes to what ``evaluate`` measures, in addition to those of the columns.
        published: Published values of this experiment.
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
    """Rows that are measured in the same way.

    Args:
        title: Heading of the table.
        about: How its values are measured.
        columns: At least one.
        rows: The experiments.
        published: Published values of methods that are no row.
    """

    title: str
    about: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Study:
    """Tables of experiments. The first column of the first table is the main value of the study.

    Args:
        name: Name of the study.
        about: A sentence about the study.
        tables: Its tables.

    Raises:
        DomtransError: If a row's name cannot be a folder, two experiments have one name, or a published value names no column.
    """

    name: str
    about: str
    tables: tuple[Table, ...]

    def __post_init__(self) -> None:
        known: dict[str, Row] = {}
        for row in self.rows():
            first = known.setdefault(row.name, row)
            if not ROW_NAME.fullmatch(row.name):
                raise DomtransError(
                    f"the study '{self.name}' has a row '{row.name}': use lower-case letters, digits and hyphens"
                )
            if (first.recipe, first.changes) != (row.recipe, row.changes):
                raise DomtransError(f"the study '{self.name}' has two experiments called '{row.name}'; rename one")
        for table in self.tables:
            titles = [column.title for column in table.columns]
            cited = [one.column for one in (*table.published, *(value for row in table.rows for value in row.published))]
            unknown = [title for title in cited if title and title not in titles]
            if not titles or unknown:
                fault = f"cites a value for '{unknown[0]}', which is not a column" if unknown else "has no columns"
                raise DomtransError(f"the table '{table.title}' of the study '{self.name}' {fault}")

    def rows(self) -> Iterator[Row]:
        """The rows of all tables, in order. A row of several tables occurs several times."""
        return (row for table in self.tables for row in table.rows)


def plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes as plain JSON values; parts become tables."""
    values: dict[str, Any] = ANY_VALUE.dump_python(dict(changes), mode="json")
    return values


def find_study(name: str, options: Mapping[str, Any], registry: Registry) -> Study:
    """Build a registered study with options.

    Raises:
        DomtransError: If there is no such study, or it does not take the options.
    """
    study = registry.build("study", Part(name=name, options=dict(options)))
    if not isinstance(study, Study):
        owner = registry.get("study", name).owner
        raise DomtransError(f"the study '{name}' of plugin '{owner}' returned {type(study).__name__}, not a Study")
    return study


def select_rows(study: Study, only: tuple[str, ...]) -> list[str]:
    """Names of the rows in ``only``, or of all rows if it is empty, in the order of the study.

    Raises:
        DomtransError: If a row does not exist.
    """
    names = list(dict.fromkeys(row.name for row in study.rows()))
    for name in only:
        if name not in names:
            raise DomtransError(f"the study '{study.name}' has no row '{name}'{did_you_mean(name, names, 'rows')}")
    return [name for name in names if name in only or not only]
