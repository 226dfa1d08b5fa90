"""The results of a run in words, the same on the terminal and in a report. ``results`` is what ``results.json`` holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

LABELS = {
    "source": "source data",
    "target": "target data",
    "encoder_accuracy": "accuracy of f",
    "accuracy": "transfer accuracy",
    "evaluator_accuracy": "evaluator accuracy",
    "n": "test images",
    "supervision": "supervision",
}
"""Figures every table begins with, in this order, where they are there."""

SECONDS = {"data_and_encoder": "data and f", "training": "training", "evaluation": "evaluation"}
TOLD_APART = (
    "seconds", "images_per_second", "steps", "device", "precision", "seed", "not_measured", "computed_on",
    "health", "test_images_in_training", "best", "measured_before_at", "changed", "processes",
)  # fmt: skip
"""Keys of the results that are no figures of their own."""


class MetricRow(NamedTuple):
    """One figure: its key in the results (``a.b`` in a table ``a``), its name for people, its value, and that in words."""

    key: str
    label: str
    value: Any
    text: str


def metric_rows(results: Mapping[str, Any]) -> list[MetricRow]:
    """What was measured, and on which data."""
    found = [
        MetricRow(key, label, results[key], format_value(key, results[key])) for key, label in LABELS.items() if key in results
    ]
    for key, value in results.items():
        if key not in LABELS and key not in TOLD_APART:
            found += _undeclared_rows(key, value)
    return found


def not_measured(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metrics that could say nothing of this data, each with the reason."""
    return [(str(name), str(why)) for name, why in _table(results, "not_measured").items()]


def check_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader of the figures should know of how they came about, each with a word that names it."""
    health = results.get("health")
    if isinstance(health, Mapping):
        yield from (("health", str(sentence)) for sentence in health.values() or ("nothing to report",))
    repeats = [
        f"the {side} was not compared" if count is None else f"{count:,} of the {side}"
        for side, count in _table(results, "test_images_in_training").items()
        if count != 0
    ]
    if repeats:
        yield "test images in training", ", ".join(repeats)
    if "measured_before_at" in results:
        steps = ", ".join(f"{step:,}" for step in results["measured_before_at"])
        yield "measured before", f"at step {steps}: to go on was a choice with test figures in sight"
    yield from (("changed on the way", str(change)) for change in results.get("changed", ()))
    best = _table(results, "best")
    for name, value in best.items():
        if name != "step":
            yield "best model", f"{name} {format_value(name, value)} at step {best['step']:,}"


def run_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How long it took and where it was computed, each with a word that names it."""
    seconds = _table(results, "seconds")
    if seconds:
        spent = [f"{SECONDS.get(phase, phase)} {format_duration(value)}" for phase, value in seconds.items()]
        total = [f"total {format_duration(sum(seconds.values()))}"] if len(spent) > 1 else []
        yield "time", ", ".join(spent + total)
    if "steps" in results:
        speed = f", {results['images_per_second']:,.0f} images/s" if results.get("images_per_second") else ""
        yield "steps of training", f"{results['steps']:,}{speed}"
    where = [str(results[key]) for key in ("device", "precision") if key in results]
    where += [f"{results['processes']} processes"] if "processes" in results else []
    if where:
        yield "computed on", ", ".join(where + ([f"seed {results['seed']}"] if "seed" in results else []))


def format_value(key: str, value: Any) -> str:
    """A value as people write it: an accuracy in percent, others in four digits."""
    if isinstance(value, float):
        return f"{100 * value:.1f} %" if key.endswith("accuracy") else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def format_duration(seconds: float) -> str:
    """``"1 min 5 s"``."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _undeclared_rows(key: str, value: Any) -> list[MetricRow]:
    """Figures of metrics that this module knows nothing of; a list, as a confusion matrix is, is too much for a line."""
    if isinstance(value, list | tuple):
        return []
    if isinstance(value, Mapping):
        return [found for name, item in value.items() for found in _undeclared_rows(f"{key}.{name}", item)]
    return [MetricRow(key, key.replace("_", " "), value, format_value(key, value))]


def _table(results: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = results.get(key)
    return value if isinstance(value, Mapping) else {}
