"""Source and target of a recipe that Python code passed, and recipes with such data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domtrans.data.from_python import NAME, PythonData, is_data, is_here, read_data, with_data
from domtrans.errors import DomtransError
from domtrans.recipe.files import chooses_by_data, find_recipe
from domtrans.recipe.overrides import Overrides, assignment, override, parse
from domtrans.recipe.schema import DOMAINS, Recipe
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry


def split_off_data(overrides: Overrides, given: Mapping[str, Any]) -> tuple[list[str] | dict[str, Any], dict[str, Any]]:
    """Separate data from changes to the recipe.

    Args:
        overrides: Changes to a recipe; a mapping may have data under "source" and "target".
        given: The parameters ``source`` and ``target``; None if they were not given.

    Returns:
        The changes without data, and the domains that were given: data, parts, names or tables.

    Raises:
        DomtransError: If a domain is given twice.
    """
    domains = {name: value for name, value in given.items() if value is not None}
    if not isinstance(overrides, Mapping):
        parse(overrides)  # refuses a single string, which list() would take apart
        return list(overrides or ()), domains
    data = {name: overrides[name] for name in DOMAINS if name in overrides and is_data(overrides[name])}
    for name in data.keys() & domains.keys():
        raise DomtransError(f"the {name} is given twice, in overrides and as {name}=; leave out one of them")
    return {path: value for path, value in overrides.items() if path not in data}, domains | data


def use_data(
    recipe: Recipe, domains: Mapping[str, Any], registry: Registry, *, all_source: bool = False
) -> tuple[Recipe, Registry]:
    """Put data that Python code passed into a recipe.

    Args:
        recipe: The resolved recipe.
        domains: "source" and "target", if they were given: data, or a part, its name or its table.
        registry: The parts.
        all_source: Measure all images of a source that has no splits, unless the recipe was trained on it.

    Returns:
        The resolved recipe, and the registry in which its domain "python" has the data.

    Raises:
        DomtransError: For data that cannot be read.
    """
    read: list[PythonData] = []
    changes: dict[str, Any] = {}
    for name, value in domains.items():
        if not is_data(value):
            changes[name] = value.model_dump() if isinstance(value, Part) else value
            continue
        trained_on = recipe.source if all_source and name == "source" else None
        data = read_data(value, recipe.image_size, name, split_only=trained_on)
        read.append(data)
        changes[name] = data.part.model_dump()
    if read:
        registry = with_data(registry, read)
    return (override(recipe, changes, registry) if changes else recipe), registry


def find_with_data(
    recipe: Recipe | str, registry: Registry, overrides: Overrides, given: Mapping[str, Any]
) -> tuple[Recipe, Registry]:
    """Find a recipe by its name, change it, and put data that Python code passed into it.

    Args:
        recipe: A recipe, or a name as in ``find_recipe``.
        registry: The parts.
        overrides: Changes to the recipe.
        given: The parameters ``source`` and ``target``; None if they were not given.

    Returns:
        The resolved recipe, and the registry in which its domain "python" has the data.

    Raises:
        DomtransError: If the recipe, a change or the data is wrong.
    """
    changes, domains = split_off_data(overrides, given)
    if not isinstance(recipe, str):
        found = recipe.resolve(registry)
        return use_data(override(found, changes, registry) if changes else found, domains, registry)
    found, with_data = use_data(find_recipe(recipe, registry, changes), domains, registry)
    if domains and chooses_by_data(recipe, registry):  # again, now that it can look at this data
        parts = {name: getattr(found, name).model_dump() for name in domains}
        as_text = [assignment(name, part) for name, part in parts.items()]
        again = find_recipe(recipe, with_data, changes | parts if isinstance(changes, dict) else [*changes, *as_text])
        return use_data(again, domains, registry)
    return found, with_data


def python_domains(recipe: Recipe) -> list[str]:
    """The fields of a recipe whose data Python code passed: none, "source", "target" or both."""
    return [name for name in DOMAINS if getattr(recipe, name).name == NAME]


def check_data_is_here(recipe: Recipe, registry: Registry, call: str) -> None:
    """Raise DomtransError if a recipe has data from Python that the registry does not have.

    Args:
        recipe: The recipe.
        registry: The parts.
        call: How to pass the data again, for the message.
    """
    missing = [name for name in python_domains(recipe) if not is_here(registry, getattr(recipe, name))]
    if missing:
        facts = "; ".join(f"{name}: {getattr(recipe, name).options.get('about') or 'unknown'}" for name in missing)
        arguments = ", ".join(f"{name}=DATA" for name in missing)
        raise DomtransError(
            f"the {' and the '.join(missing)} of this recipe came from Python ({facts}), so the recipe alone cannot repeat it; "
            f"pass the data again: {call}({arguments})"
        )
