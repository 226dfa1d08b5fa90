"""The logs of one or several runs as charts: one per logged value, thinned so that the page stays small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from domtrans.evaluation.health import D_LOSS, D_LOST, D_WINS, DIVERSITY, G_COLLAPSED
from domtrans.evaluation.results import format_value
from domtrans.recipe.schema import Term
from domtrans.registry.registry import Registry
from domtrans.reporting.records import Record

MAX_POINTS, MIN_CURVE_POINTS, MAX_CURVE_POINTS = 60_000, 50, 1000
"""Points of all curves together, approximately, and of one curve."""

GROUPS = {
    "losses": ("Losses", "The losses that g and D minimise, before they are weighted. D and g work against each other."),
    "health": ("Health", "Two values with the same scale in every run. A dotted line is the level of an alarm."),
    "validation": ("Validation", "Measured on training images, without labels. The best score selects best.safetensors."),
    "speed": ("Speed and resources", "Speed and memory of the training."),
}
"""Groups of charts: a heading, and a sentence about all of them."""
GROUP_OF = {"generator": "losses", "discriminator": "losses", "health": "health", "validation": "validation"}
"""The group of a value, by the first word of its name; all other values belong to "speed"."""

DESCRIPTIONS = {
    D_LOSS: "loss of D relative to chance: 1 if D guesses, 0 if it is certain",
    DIVERSITY: "variation of G(x) within a batch, relative to that of real target images",
    "validation.agreement": "share of images for which f predicts the same for x and for G(x)",
    "validation.realism": "similarity of the pixel distributions of G(x) and of target images: 1 if equal",
    "validation.margin": "how much nearer G(x) is to target images of its class than to others, relative to real images",
    "validation.score": "margin times realism; agreement times realism where there is no margin",
    "images_per_second": "training images of both domains per second, since the last line of the log",
    "memory_mb": "peak memory so far, in MiB",
    "data_wait": "share of the time that the trainer waited for images",
    "damaged": "images that could not be read so far; others were used instead",
}
ALARM_LEVELS = {
    D_LOSS: ((D_WINS, "D wins"), (D_LOST, "D is lost")),
    DIVERSITY: ((G_COLLAPSED, "g has collapsed"),),
}
"""Levels at which the health watch raises an alarm."""

AXIS_KEYS = frozenset({"step", "seconds"})


@dataclass
class Curve:
    """One logged value of one run."""

    run: int
    step: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, line: Mapping[str, Any], value: float) -> None:
        """Add the value of a line of the log."""
        self.step.append(float(line["step"]))
        self.seconds.append(float(line["seconds"]))
        self.value.append(value)

    def thin(self, count: int) -> Curve:
        """About ``count`` of the points: the lowest and the highest of every interval, so that no peak is lost."""
        if len(self.value) <= count:
            return self
        edges = np.linspace(0, len(self.value), max(count // 2, 1) + 1).astype(int)
        values = np.array(self.value)
        intervals = [np.arange(a, b) for a, b in pairwise(edges) if b > a]
        extremes = {int(interval[pick(values[interval])]) for interval in intervals for pick in (np.argmin, np.argmax)}
        kept = sorted(extremes | {0, len(self.value) - 1})
        return Curve(self.run, *([column[i] for i in kept] for column in (self.step, self.seconds, self.value)))

    def summary(self) -> dict[str, str]:
        """First, lowest, highest and last value, as text."""
        values = {"first": self.value[0], "lowest": min(self.value), "highest": max(self.value), "last": self.value[-1]}
        return {name: format_value("", value) for name, value in values.items()}


@dataclass(frozen=True)
class Chart:
    """One logged value, of all runs that log it."""

    name: str
    group: str
    description: str
    curves: Sequence[Curve]
    levels: Sequence[tuple[float, str]]


def charts(records: Sequence[Record], registry: Registry) -> list[Chart]:
    """One chart per logged value, in the order of GROUPS, with g's losses before D's."""
    by_name: dict[str, dict[int, Curve]] = {}
    for run, record in enumerate(records):
        for line in record.log:
            for name, value in line.items():
                if name not in AXIS_KEYS and isinstance(value, int | float) and math.isfinite(value):
                    by_name.setdefault(name, {}).setdefault(run, Curve(run)).add(line, value)
    curve_count = sum(map(len, by_name.values()))
    count = min(MAX_CURVE_POINTS, max(MIN_CURVE_POINTS, MAX_POINTS // max(curve_count, 1)))
    unsorted = [
        Chart(
            name,
            _group(name),
            _description(name, records, registry),
            [curve.thin(count) for curve in curves.values()],
            ALARM_LEVELS.get(name, ()),
        )
        for name, curves in by_name.items()
    ]
    return sorted(unsorted, key=lambda chart: (list(GROUPS).index(chart.group), chart.name.startswith("discriminator.")))


def _group(name: str) -> str:
    return GROUP_OF.get(name.partition(".")[0], "speed")


def _description(name: str, records: Sequence[Record], registry: Registry) -> str:
    """A phrase about a logged value; for a loss: its weight in the recipe, and the summary of its docstring."""
    network, _, term = name.partition(".")
    if network not in ("generator", "discriminator"):
        return DESCRIPTIONS.get(name, name.replace("_", " "))
    weights: dict[str, dict[str, None]] = {}
    for record in records:
        part: Term | None = getattr(record.recipe, f"{network}_losses").get(term)
        if part is not None:
            span = (
                ""
                if (part.start, part.stop) == (0, 1)
                else f" from {100 * part.start:.0f} to {100 * part.stop:.0f} % of the run"
            )
            weights.setdefault(part.name, {})[f"{part.weight:g}{span}"] = None
    return "; or ".join(f"{loss}, weight {' or '.join(texts)}: {_summary(loss, registry)}" for loss, texts in weights.items())


def _summary(loss: str, registry: Registry) -> str:
    is_known = loss in registry.names("loss")
    return registry.get("loss", loss).summary.replace("``", "").rstrip(".") if is_known else "not installed here"
