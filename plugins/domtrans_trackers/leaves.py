"""Trees of plain values, as recipes, log lines and results are, in the flat form that other tools want."""

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """``("train.steps", 1000)`` for every value that is no table; a list is one value."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{before}{name}.")
        else:
            yield before + name, value


def figures(tree: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a log line or of results by name, without what they are drawn against."""
    return {
        name: float(value)
        for name, value in leaves(tree)
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("step", "seconds")
    }
