"""results.json: its three sections, and its checks and facts as text. ``metric_rows`` is about the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict


class RunFacts(TypedDict, total=False):
    """The section "run": how a run was computed, and on which data it was measured."""

    source: str
    target: str
    steps: int
    seconds: Mapping[str, float]
    images_per_second: float
    device: str
    precision: str
    computed_on: Mapping[str, Any]
    seed: int
    processes: int


class CheckFacts(TypedDict, total=False):
    """The section "checks": what a reader needs to judge the metrics. What does not apply is left out."""

    supervision: str
    test_images_in_training: Mapping[str, int | None]
    health: Mapping[str, str]
    changed: Sequence[str]
    data_from_python: Sequence[str]
    data_notes: Mapping[str, Sequence[str]]
    enlarged: Mapping[str, int]
    begins_with: Mapping[str, Any]
    measured_before_at: Sequence[int]
    best: Mapping[str, float]
    not_measured: Mapping[str, str]
    drawn_by: str
    reading: Mapping[str, float]


SECTIONS = {"metrics": (), "run": tuple(RunFacts.__annotations__), "checks": tuple(CheckFacts.__annotations__)}
"""The sections with their keys. Every other key of a file without sections is a metric."""

KEYS = frozenset({*SECTIONS, *(key for keys in SECTIONS.values() for key in keys)})
"""Keys that no metric can have."""

PHASES = {"data_and_encoder": "data and f", "training": "training", "evaluation": "evaluation"}
"""Labels of the entries of ``seconds``."""

NO_VALUE = "\N{EN DASH}"
"""A value that was not measured, as text."""


def results_of(measured: Mapping[str, Any], *, run: Mapping[str, Any], checks: Mapping[str, Any]) -> dict[str, Any]:
    """The content of results.json.

    Args:
        measured: What ``measure`` returned.
        run: How the run was computed: steps, seconds, device, precision, seed.
        checks: What a reader needs to judge the metrics: supervision, health, repeated test images.

    Returns:
        The three sections, and beside them all keys of theirs, as files without sections have them.
    """
    sections = in_sections(measured)
    sections["run"] |= run
    sections["checks"] |= checks
    return {**measured, **checks, **run, **sections}


def in_sections(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of results, also of those that were written without, and of what an evaluation returns."""
    if all(isinstance(results.get(name), Mapping) for name in SECTIONS):
        return {name: dict(results[name]) for name in SECTIONS}
    section_of = {key: name for name, keys in SECTIONS.items() for key in keys}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for key, value in results.items():
        sections[section_of.get(key, "metrics")][key] = value
    return sections


def not_measured(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The metrics that could not measure this data, each with the reason."""
    reasons = _table(in_sections(results)["checks"].get("not_measured"))
    return [(str(name), str(reason)) for name, reason in reasons.items()]


def check_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader needs to judge the metrics, as pairs of label and text."""
    checks = in_sections(results)["checks"]
    health = checks.get("health")
    if isinstance(health, Mapping):
        yield from (("health", str(sentence)) for sentence in health.values() or ("nothing to report",))
    repeats = [
        f"the {domain} was not compared" if count is None else f"{count:,} of the {domain}"
        for domain, count in _table(checks.get("test_images_in_training")).items()
        if count != 0
    ]
    if repeats:
        yield "test images in training", ", ".join(repeats)
    begun = _table(checks.get("begins_with"))
    if begun:
        yield "begins with", f"{begun.get('run')}, whose supervision is: {begun.get('supervision')}"
    if "measured_before_at" in checks:
        steps = ", ".join(f"{step:,}" for step in checks["measured_before_at"])
        yield "measured before", f"at step {steps}; the test metrics were known when training was continued"
    enlarged = _table(checks.get("enlarged"))
    if enlarged:
        yield "image size", enlarged_in_words(enlarged["from"], enlarged["to"])
    if "drawn_by" in checks:
        yield "images drawn by", str(checks["drawn_by"])
    reading = _table(checks.get("reading"))
    if reading:
        slots = ", ".join(f"{name} {format_value(name, share, '%')}" for name, share in reading.items())
        yield "read by c", f"{slots} of held-out drawings"
    from_python = checks.get("data_from_python")
    if isinstance(from_python, list | tuple) and from_python:
        names = " and ".join(str(name) for name in from_python)
        yield "not repeatable", f"the {names} came from Python; the recipe alone cannot train this run again"
    yield from (("changed during training", str(change)) for change in checks.get("changed", ()))
    best = _table(checks.get("best"))
    for name, value in best.items():
        if name != "step":
            yield "best model", f"{name} {format_value(name, value)} at step {best['step']:,}"


def enlarged_in_words(drawn: int, size: int) -> str:
    """A sentence for a G whose images are enlarged."""
    return f"g draws {drawn} x {drawn} pixels, and they are enlarged to {size} x {size}; this adds no detail"


def run_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How long the run took and where it was computed, as pairs of label and text."""
    run = in_sections(results)["run"]
    seconds = _table(run.get("seconds"))
    if seconds:
        times = [f"{PHASES.get(phase, phase)} {format_duration(value)}" for phase, value in seconds.items()]
        total = [f"total {format_duration(sum(seconds.values()))}"] if len(times) > 1 else []
        yield "time", ", ".join(times + total)
    if "steps" in run:
        speed = f", {run['images_per_second']:,.0f} images/s" if run.get("images_per_second") else ""
        yield "training steps", f"{run['steps']:,}{speed}"
    where = [str(run[key]) for key in ("device", "precision") if key in run]
    where += [f"{run['processes']} processes"] if "processes" in run else []
    if where:
        yield "computed on", ", ".join(where + ([f"seed {run['seed']}"] if "seed" in run else []))


def format_value(key: str, value: Any, unit: str | None = None) -> str:
    """A value as text: a share in percent, another float with four digits, a dash for None.

    Args:
        key: Its key; a value whose key ends in "accuracy" is a share.
        value: Any value of the results.
        unit: "%" for a share; None: by the key.
    """
    if isinstance(value, float):
        is_share = unit == "%" if unit is not None else key.endswith("accuracy")
        return f"{100 * value:.1f} %" if is_share else f"{value:.4g}{f' {unit}' if unit else ''}"
    if value is None:
        return NO_VALUE
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def format_duration(seconds: float) -> str:
    """``"1 min 5 s"``."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
