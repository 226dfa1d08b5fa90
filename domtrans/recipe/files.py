"""Find recipes by name, in a file or in a run folder, and write them as TOML."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from domtrans.errors import DomtransError
from domtrans.pretrained.locate import is_address, local_path
from domtrans.recipe.overrides import differences, merge
from domtrans.recipe.schema import Recipe, make_recipe
from domtrans.registry.parts import MAX_DEPTH, Part
from domtrans.registry.registry import Registry

MAX_RECIPE_BYTES = 2**24
"""Larger files are refused before they are read. A shipped recipe has a few kilobytes."""


def find_recipe(name: str, registry: Registry) -> Recipe:
    """Find a recipe and resolve it.

    Args:
        name: A ``.toml`` or ``.json`` file, the name of a registered recipe, a run folder, or ``models:NAME`` or
            ``hf://OWNER/NAME`` for the recipe of such a run. A file holds a whole recipe, or ``extends = "NAME"`` and what
            differs.
        registry: The parts.

    Returns:
        The recipe with every option of every part.

    Raises:
        DomtransError: If there is no such recipe, or it is not valid.
    """
    return _find(name, registry, ())


def to_toml(recipe: Recipe, registry: Registry) -> str:
    """A resolved recipe as TOML, which ``find_recipe`` reads. TOML has no null, so options that are None are left out.

    Raises:
        DomtransError: If the recipe cannot be written without null.
    """
    text = tomli_w.dumps(_without_none(recipe.model_dump(mode="json")))
    changed = differences(recipe, make_recipe(tomllib.loads(text), f"recipe '{recipe.name}'").resolve(registry))
    if changed:
        raise DomtransError(f"TOML has no null, so it cannot hold this recipe ({changed[0]}); use JSON")
    return text


def _find(name: str, registry: Registry, extended_by: tuple[Path, ...]) -> Recipe:
    if is_address(name):
        return _read(local_path(name) / "recipe.json", registry, extended_by).resolve(registry)
    path = Path(name)
    if path.suffix in (".toml", ".json"):
        return _read(path, registry, extended_by).resolve(registry)
    if name not in registry.names("recipe") and os.path.isfile(path / "recipe.json"):  # noqa: PTH113 - raises for no name
        return _read(path / "recipe.json", registry, extended_by).resolve(registry)
    if name not in registry.names("recipe") and os.path.exists(name):  # noqa: PTH110 - raises for no name
        kind = "a folder" if os.path.isdir(name) else "a file"  # noqa: PTH112
        raise DomtransError(f"{name} is {kind}, and neither a recipe nor a run; `domtrans recipes` lists the recipes")
    recipe = registry.build("recipe", Part(name=name))
    if not isinstance(recipe, Recipe):
        owner = registry.get("recipe", name).owner
        raise DomtransError(f"the recipe '{name}' of plugin '{owner}' returned {type(recipe).__name__}, not a Recipe")
    return recipe.resolve(registry)


def _read(path: Path, registry: Registry, extended_by: tuple[Path, ...]) -> Recipe:
    if len(extended_by) > MAX_DEPTH:
        raise DomtransError(f"the recipe file {extended_by[0]} extends a chain of more than {MAX_DEPTH} files")
    if path in extended_by:
        raise DomtransError(f"recipe files extend one another in a circle: {' -> '.join(map(str, (*extended_by, path)))}")
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > MAX_RECIPE_BYTES):
            raise OSError(f"it is not a regular file of at most {MAX_RECIPE_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError:
        raise DomtransError(f"there is no recipe file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DomtransError(f"the recipe file {path} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DomtransError(f"the recipe file {path} is not valid {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(data, dict):
        raise DomtransError(f"the recipe file {path} must hold a table, not {type(data).__name__}")
    data.pop("$schema", None)  # where editors find the schema
    base = data.pop("extends", None)
    if base is None:
        return make_recipe(data, f"recipe file {path}")
    if not isinstance(base, str):
        raise DomtransError(f"recipe file {path}: extends must be the name of a recipe, not {base!r}")
    parent = _find(base, registry, (*extended_by, path))
    if data.get("name", parent.name) != parent.name:  # the parent's description does not fit a recipe of another name
        data = {"description": "", **data}
    return merge(parent, data, f"recipe file {path}")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value if item is not None] if isinstance(value, list) else value
