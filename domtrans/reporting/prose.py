"""The texts of a report about a run: introduction, parts, and provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from domtrans.evaluation.results import in_sections, run_rows
from domtrans.recipe.schema import Recipe, Term
from domtrans.registry.registry import Registry
from domtrans.reporting.records import Record


def introduction(record: Record) -> str:
    """The paragraph under the title of a run."""
    recipe, results = record.recipe, record.results
    text = f"{recipe.description[:1].upper()}{recipe.description[1:].rstrip('.')}. " if recipe.description else ""
    text += f"Recipe {recipe.name}, seed {recipe.seed}, batches of {recipe.train.batch_size} images of each domain. "
    if not record.log and not results:
        return f"{text}The training of g and D has not begun."
    if not results:
        return f"{text}Not finished: the log ends at step {record.step:,} of {recipe.train.steps:,}. Nothing is measured yet."
    step = in_sections(results)["run"].get("steps", record.step)  # a packed run has no log
    continued = f" Training has continued to step {record.step:,} since." if record.step > step else ""
    return f"{text}Measured at step {step:,}.{continued}"


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
