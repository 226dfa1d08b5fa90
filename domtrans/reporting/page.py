"""The page: what is known of the runs, laid into the template. All text is escaped there, whoever it comes from."""

from __future__ import annotations

import base64
import gzip
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
from domtrans.reporting.per_class import by_class
from domtrans.reporting.pictures import example_pictures, sample_grids
from domtrans.reporting.prose import lede, measured_rows, parts, provenance
from domtrans.reporting.records import Record
from domtrans.reporting.rerun_command import changed_options, command, registered

GENERATOR: str = f"domtrans {__version__}"
"""What a report says wrote it, in its head."""


def render(records: Sequence[Record], registry: Registry) -> str:
    """One HTML page on one run or several; it loads nothing from anywhere."""
    environment = Environment(
        loader=PackageLoader("domtrans.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = charts(records, registry)
    samples = [sample_grids(record.samples, len(records)) for record in records]
    groups = {group: [chart for chart in drawn if chart.group == group] for group in GROUPS}
    return environment.get_template("page.html").render(
        generator=GENERATOR,
        title=records[0].name if len(records) == 1 else f"{len(records)} runs compared",
        runs=[_of_run(record, registry, len(records)) for record in records],
        measured=measured_rows(records, registry),
        options=changed_options([record.recipe for record in records]),
        groups=[(*GROUPS[group], found) for group, found in groups.items() if found],
        label=_label,
        samples=samples,
        data={
            "runs": [{"name": record.name, "events": record.events()} for record in records],
            "charts": [asdict(chart) for chart in drawn],
            "samples": samples,
        },
        plotly=_plotly(),
    )


def _of_run(record: Record, registry: Registry, runs: int) -> dict[str, Any]:
    base = registered(record.recipe, registry)
    examples = record.examples
    shown = [] if examples is None else example_pictures(examples, runs)
    said = [] if examples is None else zip(examples.labels, examples.distance.tolist(), strict=True)
    captioned = [picture | {"label": label, "apart": apart} for picture, (label, apart) in zip(shown, said, strict=True)]
    even = 0 if examples is None else examples.even
    return {
        "name": record.name,
        "lede": lede(record),
        "doubts": list(check_rows(record.results)),
        "not_measured": not_measured(record.results),
        "events": record.events(),
        "gaps": record.gaps,
        "even": captioned[:even],
        "furthest": captioned[even:],
        "looked_at": 0 if examples is None else examples.searched,
        "by_class": by_class(record),
        "parts": list(parts(record.recipe, registry)),
        "registered": base is not None,
        "changes": [] if base is None else changed_options([base, record.recipe]),
        "command": command(record, base, registry),
        "recipe": record.recipe.to_json(),
        "provenance": list(provenance(record)),
    }


def _label(chart: Chart, names: Sequence[str]) -> str:
    """A chart in words, for those who do not see it."""
    said = []
    for curve in chart.curves:
        ends = curve.in_words()
        of = f" of {names[curve.run]}" if len(names) > 1 else ""
        said.append(
            f"{chart.name}{of}: from {ends['first']} at step {curve.step[0]:,.0f} to {ends['last']} at {curve.step[-1]:,.0f}"
        )
    return "; ".join(said)


@cache
def _plotly() -> str:
    """The plotting library, packed: the page unpacks it, and is a third of the size."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=6, mtime=0)).decode()
