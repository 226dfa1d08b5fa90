"""The search space of a sweep: the values that paths of a recipe may take.

``train.accumulate=1,2,4``                    one of these values
``generator_losses.const.weight=range(5,20)`` uniform; whole numbers if both bounds are
``train.generator_optimizer.lr=log(1e-5,1e-2)`` uniform in the logarithm
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.overrides import assignment

FUNCTION = re.compile(r"(log|range)\((.*)\)")
Value = str | int | float


@dataclass(frozen=True)
class ChoiceDimension:
    """One of some values, each as it would be written after ``path=``."""

    path: str
    values: tuple[str, ...]

    def suggest(self, trial: Any) -> str:
        """Let Optuna choose a value."""
        return str(trial.suggest_categorical(self.path, self.values))

    def ends(self) -> tuple[str, ...]:
        """The values that must all be valid."""
        return self.values

    def change(self, value: Value) -> str:
        """The change to the recipe that sets a value."""
        return f"{self.path}={value}"


@dataclass(frozen=True)
class RangeDimension:
    """A number between two bounds, both included."""

    path: str
    low: int | float
    high: int | float
    log: bool

    def suggest(self, trial: Any) -> int | float:
        """Let Optuna choose a number."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        number: int | float = (trial.suggest_int if whole else trial.suggest_float)(
            self.path, self.low, self.high, log=self.log
        )
        return number

    def ends(self) -> tuple[int | float, ...]:
        """The values that must all be valid."""
        return self.low, self.high

    def change(self, value: Value) -> str:
        """The change to the recipe that sets a value."""
        return assignment(self.path, value)


Dimension = ChoiceDimension | RangeDimension


def split_space(changes: Sequence[str]) -> tuple[list[Dimension], list[str]]:
    """Split changes into those that span the search space, and plain ones.

    Raises:
        DomtransError: For bounds that are none, a path that occurs twice, or changes without a dimension.
    """
    parsed = [(change, _dimension(change)) for change in changes]
    space = [dimension for _, dimension in parsed if dimension is not None]
    if not space:
        raise DomtransError(
            "there is nothing to search: give a path several values, e.g. train.accumulate=1,2,4 or "
            "'generator_losses.const.weight=range(5,20)' or 'train.generator_optimizer.lr=log(1e-5,1e-2)'"
        )
    paths = [dimension.path for dimension in space]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise DomtransError(f"'{twice}' is in the search space twice")
    return space, [change for change, dimension in parsed if dimension is None]


def all_combinations(space: Sequence[Dimension], limit: int) -> list[dict[str, Value]] | None:
    """Every combination of values, if there are no more than ``limit``; None if there are more."""
    count = 1
    for dimension in space:
        count *= len(dimension.values) if isinstance(dimension, ChoiceDimension) else limit + 1
    if count > limit:
        return None
    values = [dimension.ends() for dimension in space]
    paths = [dimension.path for dimension in space]
    return [dict(zip(paths, combination, strict=True)) for combination in itertools.product(*values)]


def _dimension(change: str) -> Dimension | None:
    """The dimension that a change spans; None for a change to one value."""
    path, _, value = change.partition("=")
    if function := FUNCTION.fullmatch(value):
        return _range(path, function[1], function[2])
    if _is_json(value) or "," not in value:
        return None
    values = tuple(dict.fromkeys(word.strip() for word in value.split(",")))
    if "" in values:
        raise DomtransError(f"'{change}' has an empty value; write the values with one comma between two of them")
    return ChoiceDimension(path, values)


def _range(path: str, function: str, bounds: str) -> RangeDimension:
    try:
        low, high = (_number(word) for word in bounds.split(","))
    except ValueError:
        raise DomtransError(f"'{path}={function}({bounds})' needs two numbers, e.g. {path}={function}(1,10)") from None
    if low >= high or (function == "log" and low <= 0):
        above = " above 0" if function == "log" else ""
        raise DomtransError(f"'{path}={function}({bounds})' needs a low and a high number{above}, in this order")
    return RangeDimension(path, low, high, function == "log")


def _number(word: str) -> int | float:
    number = json.loads(word)
    if isinstance(number, bool) or not isinstance(number, int | float) or number - number != 0:
        raise ValueError(word)
    return number


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
