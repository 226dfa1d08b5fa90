"""The texts and tables of a report: introduction, results with their meaning, parts, and provenance."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domtrans.evaluation.results import MetricRow, declared_values, in_sections, metric_rows, row_order, run_rows
from domtrans.recipe.schema import Recipe, Term
from domtrans.registry.docstrings import parse_docstring
from domtrans.registry.registry import Registry
from domtrans.reporting.records import Record


def introduction(record: Record) -> str:
    """The paragraph under the title of a run."""
    recipe, results = record.recipe, record.results
    text = f"{recipe.description[:1].upper()}{recipe.description[1:].rstrip('.')}. " if recipe.description else ""
    text += f"Recipe {recipe.name}, seed {recipe.seed}, batches of {recipe.train.batch_size} images of each domain. "
    if not record.log:
        return f"{text}The training of g and D has not begun."
    if not results:
        return f"{text}Not finished: the log ends at step {record.step:,} of {recipe.train.steps:,}. Nothing is measured yet."
    step = in_sections(results)["run"].get("steps", record.step)
    continued = f" Training has continued to step {record.step:,} since." if record.step > step else ""
    return f"{text}Measured at step {step:,}.{continued}"


def result_rows(records: Sequence[Record], registry: Registry) -> list[dict[str, Any]]:
    """One row per result of any run: its label, its meaning, and its value in every run."""
    values = declared_values(registry, *(record.recipe for record in records))
    columns = [{row.key: row for row in metric_rows(record.results, values)} for record in records]
    if len(records) > 1:
        for column, record in zip(columns, records, strict=True):
            column |= {word: MetricRow(word, word, text, text) for word, text in run_rows(record.results)}
    first = {key: row for column in reversed(columns) for key, row in column.items()}
    order = [*(key for key, value in values.items() if value.main), *row_order(values), *first]
    docstrings = [
        registry.get("metric", part.name).factory.__doc__ or ""
        for record in records
        for part in record.recipe.metrics.values()
        if part.name in registry.names("metric")
    ]
    return [
        {
            "label": first[key].label,
            "meaning": _meaning(key.rpartition(".")[2], docstrings),
            "values": [column[key].text if key in column else "\N{EN DASH}" for column in columns],
            "is_number": isinstance(first[key].value, int | float),
        }
        for key in sorted(first, key=order.index)
    ]


def _meaning(key: str, docstrings: Sequence[str]) -> str:
    """What the first metric that documents a key says about it."""
    documented = (parse_docstring(inspect.cleandoc(docstring)).help_of(key) for docstring in docstrings)
    return next(filter(None, documented), "").rpartition(f"{key}: ")[2]


def part_rows(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, str, str]]:
    """Every part of a recipe: its path, its name, and its summary."""
    for path, kind, part in recipe.parts():
        is_known = part.name in registry.names(kind)
        summary = registry.get(kind, part.name).summary.replace("``", "") if is_known else "not installed here"
        yield path, part.name + (f" \N{MULTIPLICATION SIGN} {part.weight:g}" if isinstance(part, Term) else ""), summary


def provenance_rows(record: Record) -> Iterator[tuple[str, str]]:
    """Where a run comes from: folder, times, command, commit, versions, machine, data, plugins."""
    about = record.about
    yield "run folder", str(record.path)
    yield from run_rows(record.results)
    if "supervision" in about:
        yield "supervision", str(about["supervision"])
    if "made_by" in about:
        yield "command", str(about["made_by"])
    git = about.get("git")
    if isinstance(git, Mapping):
        yield "commit", f"{git.get('commit')}{', with uncommitted changes' if git.get('dirty') else ''}"
    for key, label in (("versions", "versions"), ("computed_on", "machine"), ("data", "fingerprints of the training data")):
        value = about.get(key)
        if isinstance(value, Mapping):
            yield label, ", ".join(f"{name} {text}" for name, text in value.items())
    plugins = about.get("plugins")
    if isinstance(plugins, Mapping):
        yield "plugins", "; ".join(dict.fromkeys(str(origin) for origin in plugins.values()))
