"""Recipes, log lines and results in the flat form that other tools need: one name for each value."""

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield e.g. ``("train.steps", 1000)`` for every value that is not a table. A list is one value."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def numbers_of_results(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of all sections of results.json by name."""
    return numbers({key: value for name in ("metrics", "run", "checks") for key, value in results[name].items()})


def numbers(tree: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a log line by name, without the step and the time, which other tools keep separately."""
    return {
        name: float(value)
        for name, value in flatten(tree)
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("step", "seconds")
    }
