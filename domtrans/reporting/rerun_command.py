"""The command that trains a run again, and how its recipe differs from the installed one of the same name."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from domtrans.errors import DomtransError
from domtrans.evaluation.results import NO_VALUE
from domtrans.recipe.data import python_domains
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import assignment, differences, flatten, override
from domtrans.recipe.schema import DOMAINS, PART_KINDS, Recipe
from domtrans.registry.registry import Registry
from domtrans.reporting.records import Record
from domtrans.storage.run_files import RECIPE_FILE


def installed_recipe(recipe: Recipe, registry: Registry) -> Recipe | None:
    """The installed recipe of the same name, or None. One that chooses by its data looks at that of ``recipe``."""
    try:
        if recipe.name not in registry.names("recipe"):
            return None
        return find_recipe(recipe.name, registry, _domain_changes(recipe, registry) if recipe.choices else None)
    except DomtransError:
        return None


def changed_options(recipes: list[Recipe]) -> list[tuple[str, list[str]]]:
    """The paths in which recipes differ, each with its value in every recipe."""
    flat = [flatten(recipe) for recipe in recipes]
    fields = list(Recipe.model_fields)
    paths = sorted(dict.fromkeys(path for one in flat for path in one), key=lambda path: fields.index(path.partition(".")[0]))
    changed = [path for path in paths if any(path not in one or one[path] != flat[0].get(path) for one in flat)]
    return [(path, [_as_text(one[path]) if path in one else NO_VALUE for one in flat]) for path in changed]


def rerun_command(record: Record, base: Recipe | None, registry: Registry) -> str:
    """The command that trains a run again: the installed recipe with changes if they give this recipe, else its file."""
    recipe, words = record.recipe, [str(record.path / RECIPE_FILE)]
    if python_domains(recipe):
        data = ", ".join(f"{name}={name.upper()}" for name in python_domains(recipe))
        return f"domtrans.train({words[0]!r}, {data})  # in Python, with the same data"
    if base is not None:
        changes = assignments(base, recipe)
        if recipe.choices:
            changes = [*_domain_changes(recipe, registry), *changes]
        try:
            if not differences(override(base, changes, registry), recipe):
                words = [recipe.name, *changes]
        except DomtransError:  # no assignment makes this change, e.g. to an option that no longer exists
            pass
    computed = record.about.get("computed_on")
    computed = computed if isinstance(computed, Mapping) else {}
    device = ["--device", str(computed["device"])] if "device" in computed else []
    threads = computed.get("threads")  # the file may come from anybody, and the command is for a shell: a number only
    environment = f"OMP_NUM_THREADS={threads} " if computed.get("device") == "cpu" and isinstance(threads, int) else ""
    return environment + shlex.join(["domtrans", "train", *words, *device, "--out", f"runs/{record.path.resolve().name}-again"])


def _domain_changes(recipe: Recipe, registry: Registry) -> list[str]:
    """The changes of source and target of an installed recipe that chooses by them."""
    changes = assignments(find_recipe(recipe.name, registry), recipe)
    return [change for change in changes if change.startswith(tuple(f"{name}{end}" for name in DOMAINS for end in ".="))]


def assignments(base: Recipe, recipe: Recipe) -> list[str]:
    """``path=value`` strings that change ``base`` into ``recipe``, parts before their options."""
    before, after = flatten(base), flatten(recipe)
    removed = [
        f"{field}.{key}=none"
        for field in PART_KINDS
        if isinstance(getattr(base, field), dict)
        for key in getattr(base, field)
        if key not in getattr(recipe, field)
    ]
    changed = [path for path in after if path not in before or before[path] != after[path]]
    parts = {path for path in changed if path.endswith(".name")}
    changed.sort(key=lambda path: (path not in parts, path.count(".")))
    return removed + [assignment(path.removesuffix(".name") if path in parts else path, after[path]) for path in changed]


def _as_text(value: Any) -> str:
    """A value as it is written in an assignment."""
    return assignment("", value).removeprefix("=")
