"""The log of one or several runs as charts: one for every figure, thinned out so that a page stays small."""

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

POINTS = 60_000
"""Points of all curves together, about; a curve has from 50 to 1,000 of them."""

GROUPS = {
    "losses": ("Losses", "What g and D minimise, term by term, before the weights. D and g pull against each other."),
    "health": ("Health", "Two figures that mean the same in every run; a dotted line is where the watch speaks."),
    "validation": ("Validation", "Taken on training images without any label; the best score chooses best.safetensors."),
    "speed": ("Speed and the rest", "What the training asked of the machine."),
}
"""Charts that stand together: a heading, and a sentence on all of them."""
GROUP_OF = {"generator": "losses", "discriminator": "losses", "health": "health", "validation": "validation"}
"""By what a figure's name begins with; the rest is about speed and the machine."""

MEANINGS = {
    D_LOSS: "how far off D is in telling real from made images: 1 is chance, 0 is certainty",
    DIVERSITY: "how much G(x) varies over a batch, by how much real target images do",
    "validation.agreement": "how often f sees the same in x and in G(x)",
    "validation.realism": "how near the pixels of G(x) are to those of target images, as a distribution: 1 is alike",
    "validation.score": "agreement times realism",
    "images_per_second": "training images of both domains a second, since the line of the log before",
    "memory_mb": "the most memory that was in use at a time so far, in MiB",
    "data_wait": "share of the time in which the trainer stood waiting for images",
    "damaged": "pictures that could not be read so far, in whose place others stand",
}
MARKS = {
    D_LOSS: ((D_WINS, "D wins"), (D_LOST, "D is lost")),
    DIVERSITY: ((G_COLLAPSED, "g has collapsed"),),
}
"""Levels of a figure that the health watch speaks at."""

PLACE = frozenset({"step", "seconds"})


@dataclass
class Curve:
    """One figure of one run."""

    run: int
    step: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, line: Mapping[str, Any], value: float) -> None:
        """Take in a line of the log."""
        self.step.append(float(line["step"]))
        self.seconds.append(float(line["seconds"]))
        self.value.append(value)

    def thin(self, most: int) -> Curve:
        """At most ``most`` of the points: of every stretch the lowest and the highest, so that no peak is lost."""
        if len(self.value) <= most:
            return self
        edges = np.linspace(0, len(self.value), max(most // 2, 1) + 1).astype(int)
        values = np.array(self.value)
        stretches = [np.arange(a, b) for a, b in pairwise(edges) if b > a]
        ends = {int(s[pick(values[s])]) for s in stretches for pick in (np.argmin, np.argmax)}
        kept = sorted(ends | {0, len(self.value) - 1})
        return Curve(self.run, *([column[i] for i in kept] for column in (self.step, self.seconds, self.value)))

    def in_words(self) -> dict[str, str]:
        """First, lowest, highest and last value."""
        said = {"first": self.value[0], "lowest": min(self.value), "highest": max(self.value), "last": self.value[-1]}
        return {name: format_value("", value) for name, value in said.items()}


@dataclass(frozen=True)
class Chart:
    """One figure of all runs that log it."""

    name: str
    group: str
    meaning: str
    curves: Sequence[Curve]
    marks: Sequence[tuple[float, str]]


def charts(records: Sequence[Record], registry: Registry) -> list[Chart]:
    """A chart for every figure in the logs, in the order of GROUPS, g's losses before D's."""
    found: dict[str, dict[int, Curve]] = {}
    for run, record in enumerate(records):
        for line in record.log:
            for name, value in line.items():
                if name not in PLACE and isinstance(value, int | float) and math.isfinite(value):
                    found.setdefault(name, {}).setdefault(run, Curve(run)).add(line, value)
    many = sum(map(len, found.values()))
    most = min(1000, max(50, POINTS // max(many, 1)))
    made = [
        Chart(
            name, _group(name), _meaning(name, records, registry), [c.thin(most) for c in curves.values()], MARKS.get(name, ())
        )
        for name, curves in found.items()
    ]
    return sorted(made, key=lambda chart: (list(GROUPS).index(chart.group), chart.name.startswith("discriminator.")))


def _group(name: str) -> str:
    return GROUP_OF.get(name.partition(".")[0], "speed")


def _meaning(name: str, records: Sequence[Record], registry: Registry) -> str:
    """A sentence on a figure: for a term its loss and weight, from the recipe and the loss's own docstring."""
    player, _, term = name.partition(".")
    if player not in ("generator", "discriminator"):
        return MEANINGS.get(name, name.replace("_", " "))
    weights: dict[str, dict[str, None]] = {}
    for record in records:
        part: Term | None = getattr(record.recipe, f"{player}_losses").get(term)
        if part is not None:
            span = "" if (part.start, part.stop) == (0, 1) else f" from {part.start:.0%} to {part.stop:.0%} of the run"
            weights.setdefault(part.name, {})[f"{part.weight:g}{span}"] = None
    return "; or ".join(f"{loss}, weight {' or '.join(said)}: {_summary(loss, registry)}" for loss, said in weights.items())


def _summary(loss: str, registry: Registry) -> str:
    known = loss in registry.names("loss")
    return registry.get("loss", loss).summary.replace("``", "").rstrip(".") if known else "not installed here"
