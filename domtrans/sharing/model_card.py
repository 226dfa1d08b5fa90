"""The model card: README.md of a packed run. It states only what the run itself records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from domtrans.evaluation.metric_rows import MetricRow, declared_values, metric_rows, metric_tables, own_rows
from domtrans.evaluation.results import check_rows, in_sections, not_measured, run_rows
from domtrans.registry.describe import describe
from domtrans.runs.provenance import credits_of
from domtrans.runs.run import Run

MARKDOWN_CHARACTERS = re.compile(r"([\\`*_{}\[\]<>#|~])")

OTHER_SECTIONS = ("source", "target", "supervision")
"""Keys of the results that the card shows in the section on the data."""


def model_card(run: Run, *, licence: str | None, grid: str | None) -> str:
    """The card as Markdown, with the YAML front matter that model hubs read.

    Args:
        run: The run.
        licence: Licence of the model, if stated.
        grid: Name of the file with the sample grid, if there is one.
    """
    environment = Environment(
        loader=PackageLoader("domtrans.sharing"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": as_text, "line": as_line}
    return environment.get_template("model-card.md.jinja").render(
        name=run.recipe.name,
        description=run.recipe.description or f"{run.recipe.source.name} to {run.recipe.target.name}",
        metrics=[(name, describe(run.registry.get("metric", part.name)).summary) for name, part in run.recipe.metrics.items()],
        licence=licence,
        grid=grid,
        index=_model_index(run),
        size=run.recipe.image_size,
        colours={1: "grey", 3: "RGB"}.get(run.about["channels"], f"{run.about['channels']}-channel"),
        plugins=sorted(_distributions(run)),
        data=list(_data_rows(run)),
        supervision=run.about.get("supervision", "not recorded"),
        results=[(row.label, row.text) for row in own_rows(_rows(run)) if row.key not in OTHER_SECTIONS],
        tables=metric_tables(_rows(run)),
        remarks=[*((f"{name}: not measured", why) for name, why in not_measured(run.results)), *check_rows(run.results)],
        seed=run.recipe.seed,
        versions={"domtrans": "of an unknown version"} | _table(run, "versions"),
        made_by=run.about.get("made_by", f"domtrans train {run.recipe.name}"),
        origin=list(_origin_rows(run)),
        credits=list(credits_of(run.recipe, run.registry)),
    )


def as_text(value: object) -> str:
    """Any text with its Markdown characters escaped, on one line. It may come from a stranger's recipe."""
    return MARKDOWN_CHARACTERS.sub(r"\\\1", as_line(value))


def as_line(value: object) -> str:
    """Any text on one line and without code fences, so that it cannot end the table or block around it."""
    return " ".join(str(value).split()).replace("```", "'''")


def _data_rows(run: Run) -> Iterator[tuple[str, str, str]]:
    fingerprints = _table(run, "data")
    yield "domain", str(run.recipe.source), str(run.recipe.target)
    measured_on = in_sections(run.results)["run"]
    yield "measured on", measured_on.get("source", "nothing"), measured_on.get("target", "nothing")
    yield "fingerprint of the training images", fingerprints.get("source", "unknown"), fingerprints.get("target", "unknown")


def _origin_rows(run: Run) -> Iterator[tuple[str, Any]]:
    """How the model was made, as the model file records it."""
    yield "f", run.recipe.encoder
    yield "fit of f", run.recipe.fit.name if run.recipe.fit else "no fit: it is used as loaded"
    yield "g", run.recipe.generator
    terms = run.recipe.generator_losses.items()
    yield "losses of g", ", ".join(f"{name} ({term.name}, weight {term.weight:g})" for name, term in terms)
    yield "steps", f"{run.about.get('step', 'unknown')}, chosen by: {run.about.get('chosen', 'unknown')}"
    yield "seed", run.recipe.seed
    yield from ((name, text) for name, text in run_rows(run.results) if name != "training steps")
    if "stored_as" in run.about:
        yield "weights", f"rounded to {run.about['stored_as']}; the results are those of the rounded weights"
    yield "versions", ", ".join(f"{name} {version}" for name, version in _table(run, "versions").items()) or "unknown"
    git = _table(run, "git")
    if git:
        yield "commit", f"{git.get('commit')}{' with changes' if git.get('dirty') else ''}"


def _distributions(run: Run) -> set[str]:
    """Packages that must be installed besides domtrans, as the model file records them."""
    origins = {str(origin).partition(" (")[0] for origin in _table(run, "plugins").values()}
    return {origin for origin in origins if origin.partition(" ")[0] != "domtrans"}


def _model_index(run: Run) -> list[dict[str, Any]]:
    """The results in the form of ``model-index``, which model hubs read."""
    sections = in_sections(run.results)
    rows = [row for row in _rows(run) if isinstance(sections["metrics"].get(row.key), float)]
    metrics = [{"type": row.key, "name": row.label, "value": row.value} for row in rows]
    dataset = {"type": run.recipe.source.name, "name": str(sections["run"].get("source", run.recipe.source.name))}
    result = {"task": {"type": "image-to-image"}, "dataset": dataset, "metrics": metrics}
    return [{"name": run.recipe.name, "results": [result]}] if metrics else []


def _rows(run: Run) -> list[MetricRow]:
    return metric_rows(run.results, declared_values(run.registry, run.recipe))


def _table(run: Run, key: str) -> dict[str, Any]:
    value = run.about.get(key)
    return value if isinstance(value, dict) else {}
