"""The HTML page. The template escapes all text, because names and results may come from anybody."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from domtrans import __version__
from domtrans.evaluation.results import check_rows, not_measured
from domtrans.registry.registry import Registry
from domtrans.reporting.curves import GROUPS, Chart, charts
from domtrans.reporting.images import example_images, sample_grids
from domtrans.reporting.per_class import per_class
from domtrans.reporting.prose import introduction, part_rows, provenance_rows
from domtrans.reporting.records import Record
from domtrans.reporting.rerun_command import changed_options, installed_recipe, rerun_command
from domtrans.reporting.results import page_results
from domtrans.runs.examples import Examples

GENERATOR: str = f"domtrans {__version__}"
"""The ``generator`` in the head of a report."""
MAX_DRAWINGS = 8
"""Drawings whose parameters a report lists."""


def render(records: Sequence[Record], registry: Registry) -> str:
    """Render one self-contained HTML page about one run or several."""
    all_charts = charts(records, registry)
    samples = [sample_grids(record.samples, len(records)) for record in records]
    results, tables = page_results(records, registry)
    groups = {group: [chart for chart in all_charts if chart.group == group] for group in GROUPS}
    template = environment().get_template("page.html")
    return template.render(
        generator=GENERATOR,
        title=records[0].name if len(records) == 1 else f"{len(records)} runs compared",
        runs=[_run_context(record, registry, len(records)) for record in records],
        results=results,
        tables=tables,
        options=changed_options([record.recipe for record in records]),
        groups=[(*GROUPS[group], members) for group, members in groups.items() if members],
        chart_label=_chart_label,
        samples=samples,
        data={
            "runs": [{"name": record.name, "events": record.events()} for record in records],
            "charts": [asdict(chart) for chart in all_charts],
            "samples": samples,
        },
        plotly=_plotly(),
    )


@cache
def environment() -> Environment:
    """The templates of the pages, which it compiles once."""
    environment = Environment(
        loader=PackageLoader("domtrans.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only these may become part of a style: escaped text could still load something from elsewhere.
    environment.tests["colour"] = lambda value: re.fullmatch("#[0-9a-f]{6}", value) is not None
    return environment


def _run_context(record: Record, registry: Registry, runs: int) -> dict[str, Any]:
    """What the template needs to know about one run."""
    base = installed_recipe(record.recipe, registry)
    examples = record.examples
    images = [] if examples is None else example_images(examples, runs)
    labels, distances = ([], []) if examples is None else (examples.labels, examples.distance.tolist())
    captioned = [
        urls | {"label": label, "distance": distance} for urls, label, distance in zip(images, labels, distances, strict=True)
    ]
    even = 0 if examples is None else examples.even
    return {
        "name": record.name,
        "introduction": introduction(record),
        "checks": list(check_rows(record.results)),
        "not_measured": not_measured(record.results),
        "events": record.events(),
        "faults": record.faults,
        "even": captioned[:even],
        "furthest": captioned[even:],
        "searched": 0 if examples is None else examples.searched,
        "parameters": None if examples is None else _parameters(examples, [urls["generated"] for urls in images]),
        "per_class": per_class(record),
        "parts": list(part_rows(record.recipe, registry)),
        "is_installed": base is not None,
        "changes": [] if base is None else changed_options([base, record.recipe]),
        "command": rerun_command(record, base, registry),
        "recipe": record.recipe.to_json(),
        "provenance": list(provenance_rows(record)),
    }


def _parameters(examples: Examples, images: Sequence[str]) -> dict[str, Any] | None:
    """The first evenly spread images that were drawn by parameters, and the values of every slot; None for pixels."""
    shown = examples.parameters[: min(examples.even, MAX_DRAWINGS)]
    slots = {name: [parameters.get(name, "") for parameters in shown] for name in (shown[0] if shown else ())}
    return {"images": images[: len(shown)], "slots": slots} if slots else None


def _chart_label(chart: Chart, names: Sequence[str]) -> str:
    """A chart in words, for screen readers."""
    sentences = []
    for curve in chart.curves:
        ends = curve.summary()
        of_run = f" of {names[curve.run]}" if len(names) > 1 else ""
        first, last = f"{ends['first']} at step {curve.step[0]:,.0f}", f"{ends['last']} at {curve.step[-1]:,.0f}"
        sentences.append(f"{chart.name}{of_run}: from {first} to {last}")
    return "; ".join(sentences)


@cache
def _plotly() -> str:
    """The plotting library, compressed to a third of its size; the page decompresses it."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=6, mtime=0)).decode()
