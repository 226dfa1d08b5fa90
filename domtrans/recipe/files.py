"""Find recipes by name, in a file or in a run folder, and write them as TOML."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from domtrans.data.facts import DomainFacts
from domtrans.errors import DomtransError
from domtrans.pretrained.locate import is_address, local_path
from domtrans.recipe.overrides import Overrides, assignment, differences, merge, override, parse
from domtrans.recipe.schema import DOMAINS, Recipe, make_recipe
from domtrans.registry.parts import MAX_DEPTH, Part, positional_parameters
from domtrans.registry.registry import Registry
from domtrans.storage.run_files import RECIPE_FILE
from domtrans.storage.text import decode_text

MAX_RECIPE_BYTES = 2**24
"""Larger files are refused before they are read. A shipped recipe has a few kilobytes."""


def find_recipe(name: str, registry: Registry, changes: Overrides = None) -> Recipe:
    """Find a recipe, change it, and resolve it.

    A recipe that chooses by its data looks at the source and the target that the changes name.

    Args:
        name: A ``.toml`` or ``.json`` file, the name of a registered recipe, a run folder, or ``models:NAME`` or
            ``hf://OWNER/NAME`` for the recipe of such a run. A file holds a whole recipe, or ``extends = "NAME"`` and what
            differs.
        registry: The parts.
        changes: Changes to the recipe, as ``override`` takes them.

    Returns:
        The recipe with every option of every part.

    Raises:
        DomtransError: If there is no such recipe, or it or a change is not valid.
    """
    found = _find(name, registry, ())
    recipe = found.informed_recipe(registry, changes) if found.chooses else found.recipe(registry)
    return override(recipe, changes, registry) if changes else recipe


def chooses_by_data(name: str, registry: Registry) -> bool:
    """Whether ``find_recipe`` of this name looks at the source and the target."""
    return _find(name, registry, ()).chooses


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


@dataclass(frozen=True)
class _Found:
    """A recipe as it was found.

    Attributes:
        begin: Returns the recipe that it begins with; of a recipe that chooses by its data, from the facts of source and
            target, None where they are not known.
        chooses: Whether it chooses by its data.
        layers: What the files that extend it change, in order, each with words for messages.
    """

    begin: Callable[..., Recipe]
    chooses: bool = False
    layers: tuple[tuple[Mapping[str, Any], str], ...] = ()

    def recipe(self, registry: Registry, facts: tuple[DomainFacts | None, ...] = (None, None)) -> Recipe:
        """The recipe with all layers, resolved."""
        recipe = (self.begin(*facts) if self.chooses else self.begin()).resolve(registry)
        for changes, where in self.layers:
            renamed = changes.get("name", recipe.name) != recipe.name  # the description does not fit another name
            recipe = merge(recipe, {"description": "", **changes} if renamed else changes, where).resolve(registry)
        return recipe

    def informed_recipe(self, registry: Registry, changes: Overrides) -> Recipe:
        """The recipe that is chosen by the source and the target of its layers and of these changes."""
        from domtrans.data.look import look  # imports torch, which other recipes do not need

        domains = replace(self, layers=tuple((_of_domains(layer), where) for layer, where in self.layers)).recipe(registry)
        pairs = [(path, value) for path, value in parse(changes) if path.partition(".")[0] in DOMAINS]
        domains = override(domains, [assignment(path, value) for path, value in pairs], registry)
        facts: list[DomainFacts | None] = []
        for name in DOMAINS:
            try:
                facts.append(look(registry, getattr(domains, name)))
            except DomtransError as error:
                reason = f"the defaults, because the {name} cannot be looked at: {error}"
                return self.recipe(registry).model_copy(update={"choices": (reason,)})
        return self.recipe(registry, tuple(facts))


def _of_domains(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in DOMAINS}


def _find(name: str, registry: Registry, extended_by: tuple[Path, ...]) -> _Found:
    if is_address(name):
        return _read(local_path(name) / RECIPE_FILE, registry, extended_by)
    path = Path(name)
    if path.suffix in (".toml", ".json"):
        return _read(path, registry, extended_by)
    if name not in registry.names("recipe") and os.path.isfile(path / RECIPE_FILE):  # noqa: PTH113 - raises for no name
        return _read(path / RECIPE_FILE, registry, extended_by)
    if name not in registry.names("recipe") and os.path.exists(name):  # noqa: PTH110 - raises for no name
        kind = "a folder" if os.path.isdir(name) else "a file"  # noqa: PTH112
        refusal = f"{name} is {kind}, and neither a recipe nor a run; `domtrans recipes` lists the recipes"
        raise DomtransError(_wanted_by(extended_by) + refusal)
    try:
        entry = registry.get("recipe", name)
    except DomtransError as error:
        raise DomtransError(f"{_wanted_by(extended_by)}{error}") from None

    def begin(*facts: DomainFacts | None) -> Recipe:
        recipe = registry.build("recipe", Part(name=name), *facts)
        if not isinstance(recipe, Recipe):
            raise DomtransError(f"the recipe '{name}' of plugin '{entry.owner}' returned {type(recipe).__name__}, not a Recipe")
        return recipe

    return _Found(begin, chooses=len(positional_parameters(entry.factory)) == len(DOMAINS))


def _read(path: Path, registry: Registry, extended_by: tuple[Path, ...]) -> _Found:
    if len(extended_by) > MAX_DEPTH:
        raise DomtransError(f"the recipe file {extended_by[0]} extends a chain of more than {MAX_DEPTH} files")
    if path in extended_by:
        raise DomtransError(f"recipe files extend one another in a circle: {' -> '.join(map(str, (*extended_by, path)))}")
    data, where = _read_table(path, extended_by), f"recipe file {path}"
    data.pop("$schema", None)  # where editors find the schema
    base = data.pop("extends", None)
    if base is None:
        return _Found(lambda: make_recipe(data, where))
    if not isinstance(base, str):
        raise DomtransError(f"{where}: extends must be the name of a recipe, not {base!r}")
    parent = _find(base, registry, (*extended_by, path))
    return replace(parent, layers=(*parent.layers, (data, where)))


def _wanted_by(extended_by: tuple[Path, ...]) -> str:
    """The beginning of a message about a recipe that a file extends: that file, where the name is wrong."""
    return f"recipe file {extended_by[-1]}: extends: " if extended_by else ""


def _read_table(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """What a TOML or JSON file holds."""
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > MAX_RECIPE_BYTES):
            raise OSError(f"it is not a regular file of at most {MAX_RECIPE_BYTES:,} bytes")
        text = decode_text(path.read_bytes())
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError:
        raise DomtransError(f"{_wanted_by(extended_by)}there is no recipe file {path}") from None
    except UnicodeDecodeError:
        raise DomtransError(f"the recipe file {path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DomtransError(f"the recipe file {path} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DomtransError(f"the recipe file {path} is not valid {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(data, dict):
        raise DomtransError(f"the recipe file {path} must hold a table, not {type(data).__name__}")
    return data


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value if item is not None] if isinstance(value, list) else value
