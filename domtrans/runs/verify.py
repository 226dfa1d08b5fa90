"""``verify``: does a run, measured again, give what it recorded?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import leaves
from domtrans.runs.folder import versions
from domtrans.runs.provenance import computed_on
from domtrans.runs.run import Run, as_run

ELSEWHERE = 0.01
"""How far a figure may be from the recorded one, relative to it where it is above 1, when the machine is another."""

OF_TRAINING = frozenset(
    {"health", "steps", "seconds", "images_per_second", "device", "precision", "computed_on", "seed", "best", "changed"}
    | {"test_images_in_training", "measured_before_at", "processes"}
)
"""What ``train`` notes beside the figures; it is not measured again."""


@dataclass(frozen=True)
class Difference:
    """A figure that is not what it was; None where there is none."""

    name: str
    recorded: Any
    found: Any


@dataclass(frozen=True)
class Verification:
    """What came of it. ``tolerance``: how far figures might differ, 0 where all was the same; ``why``: what was not."""

    compared: int
    differences: tuple[Difference, ...]
    tolerance: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"differences": [asdict(one) for one in self.differences]}


def verify(run: Run | str | Path, *, device: str = "auto") -> Verification:
    """Measure a run again and compare with its ``results.json``.

    Figures must be equal to the last digit where device, precision, threads, torch and domtrans are those of the run, and
    within 0.01 elsewhere. Raises DomtransError if the run has no results or its data is not there.
    """
    run = as_run(run, device=device)
    if not run.results:
        raise DomtransError(f"the run in {run.path} has recorded no results to compare with; finish it with `domtrans train`")
    recorded = {name: value for name, value in run.results.items() if name not in OF_TRAINING}
    found = run.evaluate()
    why = _circumstances_that_differ(run)
    tolerance = ELSEWHERE if why else 0.0
    names = list(recorded | found)
    differences = [
        Difference(name, recorded.get(name), found.get(name))
        for name in names
        if not _alike(recorded.get(name), found.get(name), tolerance)
    ]
    step = run.about.get("step")
    if step is not None and step != run.results.get("steps"):
        differences.append(Difference("steps", run.results.get("steps"), step))
    return Verification(len(names) + 1, tuple(differences), tolerance, why)


def _circumstances_that_differ(run: Run) -> str:
    """``"threads 2 -> 8"``, or nothing where the figures must be the same."""
    before = {**_table(run.results.get("computed_on")), **_table(run.about.get("versions"))}
    now = {**computed_on(run.session, deterministic=run.recipe.train.deterministic), **versions()}
    return ", ".join(f"{name} {before.get(name, 'unknown')} -> {now[name]}" for name in now if before.get(name) != now[name])


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _alike(recorded: Any, found: Any, tolerance: float) -> bool:
    if isinstance(recorded, int | float) and isinstance(found, int | float):
        return abs(recorded - found) <= tolerance * max(1.0, abs(recorded))
    if isinstance(recorded, list) and isinstance(found, list):  # as a whole: a count of a confusion matrix alone may double
        pairs = list(zip(leaves(recorded), leaves(found), strict=False))
        if tolerance and all(isinstance(value, int | float) for pair in pairs for value in pair):
            apart = sum(abs(before - now) for before, now in pairs)
            return _shape(recorded) == _shape(found) and apart <= tolerance * max(1.0, sum(abs(one) for one, _ in pairs))
    return bool(recorded == found)


def _shape(value: Any) -> Any:
    return [_shape(item) for item in value] if isinstance(value, list) else None
