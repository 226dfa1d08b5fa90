"""README.md of a packed model, its model card: read off the run, claiming nothing that the run does not say of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from domtrans.evaluation.results import LABELS, check_rows, metric_rows, not_measured, run_rows
from domtrans.registry.describe import describe
from domtrans.runs.provenance import credits_of
from domtrans.runs.run import Run

MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")

NOT_NUMBERS = ("source", "target", "supervision")
"""Rows of the metrics that the card gives in sections of their own."""


def model_card(run: Run, *, licence: str | None, grid: str | None) -> str:
    """Markdown with a YAML front matter as model hubs read it. ``grid``: the file with the sample images, if there is one."""
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
        index=_index(run),
        size=run.recipe.image_size,
        colours="grey" if run.about["channels"] == 1 else "RGB",
        plugins=sorted(_distributions(run)),
        data=list(_data(run)),
        supervision=run.about.get("supervision", "not recorded"),
        figures=[(row.label, row.text) for row in metric_rows(run.results) if row.key not in NOT_NUMBERS],
        doubts=[*((f"{name}: not measured", why) for name, why in not_measured(run.results)), *check_rows(run.results)],
        seed=run.recipe.seed,
        versions={"domtrans": "of an unknown version"} | _table(run, "versions"),
        made_by=run.about.get("made_by", f"domtrans train {run.recipe.name}"),
        made=list(_made(run)),
        credits=list(credits_of(run.recipe, run.registry)),
    )


def as_text(value: object) -> str:
    """Words that stay words in Markdown, whatever they hold: they may come from anyone's recipe."""
    return MARKUP.sub(r"\\\1", as_line(value))


def as_line(value: object) -> str:
    """On one line, so that nothing ends the table or the block that it stands in."""
    return " ".join(str(value).split()).replace("```", "'''")


def _data(run: Run) -> Iterator[tuple[str, str, str]]:
    fingerprints = _table(run, "data")
    yield "domain", str(run.recipe.source), str(run.recipe.target)
    yield "measured on", run.results.get("source", "nothing"), run.results.get("target", "nothing")
    yield "fingerprint of the training images", fingerprints.get("source", "unknown"), fingerprints.get("target", "unknown")


def _made(run: Run) -> Iterator[tuple[str, Any]]:
    """How g came about, by the model file's own account."""
    yield "f", run.recipe.encoder
    yield "f learns by", run.recipe.fit.name if run.recipe.fit else "nothing: it is used as it comes"
    yield "g", run.recipe.generator
    terms = run.recipe.generator_losses.items()
    yield "losses of g", ", ".join(f"{name} ({term.name}, weight {term.weight:g})" for name, term in terms)
    yield "steps", f"{run.about.get('step', 'unknown')}, chosen by: {run.about.get('chosen', 'unknown')}"
    yield "seed", run.recipe.seed
    yield from ((name, text) for name, text in run_rows(run.results) if name != "steps of training")
    yield "versions", ", ".join(f"{name} {version}" for name, version in _table(run, "versions").items()) or "unknown"
    git = _table(run, "git")
    if git:
        yield "commit", f"{git.get('commit')}{' with changes' if git.get('dirty') else ''}"


def _distributions(run: Run) -> set[str]:
    """What must be installed besides domtrans itself, by the model file's own account."""
    origins = {str(origin).partition(" (")[0] for origin in _table(run, "plugins").values()}
    return {origin for origin in origins if origin.partition(" ")[0] != "domtrans"}


def _index(run: Run) -> list[dict[str, Any]]:
    """The figures as model hubs list them (``model-index``)."""
    numbers = [one for one in metric_rows(run.results) if isinstance(run.results.get(one.key), float)]
    metrics = [{"type": one.key, "name": LABELS.get(one.key, one.label), "value": run.results[one.key]} for one in numbers]
    data = {"type": run.recipe.source.name, "name": str(run.results.get("source", run.recipe.source.name))}
    found = {"task": {"type": "image-to-image"}, "dataset": data, "metrics": metrics}
    return [{"name": run.recipe.name, "results": [found]}] if metrics else []


def _table(run: Run, key: str) -> dict[str, Any]:
    value = run.about.get(key)
    return value if isinstance(value, dict) else {}
