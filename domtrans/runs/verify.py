"""``verify``: does a run, measured again, give the results that it recorded?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import leaves
from domtrans.evaluation.results import in_sections
from domtrans.runs.folder import RunFolder, versions
from domtrans.runs.load import as_run
from domtrans.runs.provenance import computed_on
from domtrans.runs.run import Run

TOLERANCE_ELSEWHERE = 0.01
"""Allowed difference on another machine; relative for values above 1."""


@dataclass(frozen=True)
class Difference:
    """A result that is not as recorded.

    Attributes:
        name: Its key.
        recorded: The recorded value; None if there is none.
        found: The new value; None if there is none.
    """

    name: str
    recorded: Any
    found: Any


@dataclass(frozen=True)
class Verification:
    """The outcome of ``verify``.

    Attributes:
        compared: Number of results that were compared.
        differences: Those that differ.
        tolerance: Allowed difference: 0 where device, precision, threads and versions are as recorded.
        why: What is not as recorded; empty where the tolerance is 0.
    """

    compared: int
    differences: tuple[Difference, ...]
    tolerance: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"differences": [asdict(difference) for difference in self.differences]}


def verify(run: Run | str | Path, *, device: str = "auto", progress: bool | None = None) -> Verification:
    """Measure a run again and compare with its ``results.json``.

    Args:
        run: A run or its folder.
        device: Where to measure a run that is given as a folder.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.

    Returns:
        The differences. Results must be equal to the last digit if device, precision, threads, torch and domtrans are as
        recorded, and within 0.01 otherwise.

    Raises:
        DomtransError: If the run has no results, or its data cannot be loaded.
    """
    run = as_run(run, device=device)
    if not run.results:
        if run.file == (folder := RunFolder(run.path)).model_file:
            folder.read_results()  # raises if they are damaged
        raise DomtransError(f"the run in {run.path} has recorded no results to compare with; finish it with `domtrans train`")
    before, after = in_sections(run.results), in_sections(run.evaluate(progress=progress))
    # Besides the metrics, an evaluation gives the data that they are of, and which of them could not be measured.
    recorded = before["metrics"] | {key: before[section][key] for section, key in _shared(before, after)}
    found = after["metrics"] | after["run"] | after["checks"]
    why = _changed_environment(run)
    tolerance = TOLERANCE_ELSEWHERE if why else 0.0
    names = list(recorded | found)
    differences = [
        Difference(name, recorded.get(name), found.get(name))
        for name in names
        if not _agree(recorded.get(name), found.get(name), tolerance)
    ]
    step, recorded_step = run.about.get("step"), before["run"].get("steps")
    if step is not None and step != recorded_step:
        differences.append(Difference("steps", recorded_step, step))
    return Verification(len(names) + 1, tuple(differences), tolerance, why)


def _shared(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Section and key of what both hold besides metrics."""
    return [(section, key) for section in ("run", "checks") for key in after[section] if key in before[section]]


def _changed_environment(run: Run) -> str:
    """``"threads 2 -> 8"``; empty where the results must be equal."""
    before = {**_table(in_sections(run.results)["run"].get("computed_on")), **_table(run.about.get("versions"))}
    now = {**computed_on(run.session, deterministic=run.recipe.train.deterministic), **versions()}
    return ", ".join(f"{name} {before.get(name, 'unknown')} -> {now[name]}" for name in now if before.get(name) != now[name])


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _agree(recorded: Any, found: Any, tolerance: float) -> bool:
    if isinstance(recorded, int | float) and isinstance(found, int | float):
        return abs(recorded - found) <= tolerance * max(1.0, abs(recorded))
    if isinstance(recorded, list) and isinstance(found, list):
        # By the sum of all differences: a single small count of a confusion matrix may well double.
        pairs = list(zip(leaves(recorded), leaves(found), strict=False))
        if tolerance and all(isinstance(value, int | float) for pair in pairs for value in pair):
            difference = sum(abs(before - now) for before, now in pairs)
            total = sum(abs(before) for before, _ in pairs)
            return _shape(recorded) == _shape(found) and difference <= tolerance * max(1.0, total)
    return bool(recorded == found)


def _shape(value: Any) -> Any:
    return [_shape(item) for item in value] if isinstance(value, list) else None
