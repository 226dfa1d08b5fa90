"""How a recipe differs from the registered one of its name, and the command that trains it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import assignment, differences, flatten, override
from domtrans.recipe.schema import PART_KINDS, Recipe
from domtrans.registry.registry import Registry
from domtrans.reporting.records import Record

ABSENT = "\N{EN DASH}"


def registered(recipe: Recipe, registry: Registry) -> Recipe | None:
    """The recipe of this name as it is installed here, or None."""
    try:
        return find_recipe(recipe.name, registry) if recipe.name in registry.names("recipe") else None
    except DomtransError:
        return None


def changed_options(recipes: list[Recipe]) -> list[tuple[str, list[str]]]:
    """The paths in which recipes differ, each with the value of every one."""
    flat = [flatten(recipe) for recipe in recipes]
    fields = list(Recipe.model_fields)
    paths = sorted(dict.fromkeys(path for one in flat for path in one), key=lambda path: fields.index(path.partition(".")[0]))
    rows = [(path, [_shown(one[path]) if path in one else ABSENT for one in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def command(record: Record, base: Recipe | None, registry: Registry) -> str:
    """The command that trains the recipe again: the registered one with its changes where that says it all, else its file."""
    recipe, what = record.recipe, [str(record.path / "recipe.json")]
    if base is not None:
        changes = assignments(base, recipe)
        try:
            if not differences(override(base, changes, registry), recipe):
                what = [recipe.name, *changes]
        except DomtransError:  # a change that no assignment can make, e.g. of an option that is not there any more
            pass
    computed = record.about.get("computed_on")
    computed = computed if isinstance(computed, Mapping) else {}
    device = ["--device", str(computed["device"])] if "device" in computed else []
    threads = computed.get("threads")  # of a stranger's file it may be any text, and the command is for a shell
    before = f"OMP_NUM_THREADS={threads} " if computed.get("device") == "cpu" and isinstance(threads, int) else ""
    return before + shlex.join(["domtrans", "train", *what, *device, "--out", f"runs/{record.path.resolve().name}-again"])


def assignments(base: Recipe, recipe: Recipe) -> list[str]:
    """``path=value`` for what must change in ``base``, parts before their options."""
    before, after = flatten(base), flatten(recipe)
    gone = [
        f"{field}.{key}=none"
        for field in PART_KINDS
        if isinstance(getattr(base, field), dict)
        for key in getattr(base, field)
        if key not in getattr(recipe, field)
    ]
    changed = [path for path in after if path not in before or before[path] != after[path]]
    parts = {path for path in changed if path.endswith(".name") and not path.startswith("train.")}
    changed.sort(key=lambda path: (path not in parts, path.count(".")))
    return gone + [assignment(path.removesuffix(".name") if path in parts else path, after[path]) for path in changed]


def _shown(value: Any) -> str:
    """A value as an assignment takes it."""
    return assignment("", value).removeprefix("=")
