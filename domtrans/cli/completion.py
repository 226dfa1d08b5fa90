"""What the shell offers after Tab: recipes, parts, and paths with the names that they can take.

Loading plugins takes seconds, for they import torch. So the answer is kept in the cache folder, under a hash of the
installed plugins; only the first Tab after something was installed waits. Nothing here may print or fail.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from domtrans.storage.paths import cache_folder

if TYPE_CHECKING:
    from domtrans.registry.registry import Registry

Offer = tuple[str, str]
"""A word and what it means."""


def complete_recipe(incomplete: str) -> list[Offer]:
    """Registered recipes, recipe files, folders."""
    offers = [(name, help) for name, help in known()["parts"].get("recipe", []) if name.startswith(incomplete)]
    return offers + [(path, "") for path in _paths(incomplete)]


def complete_change(context: typer.Context, incomplete: str) -> list[Offer]:
    """Paths of the recipe that was named; after a path's ``=`` the names that it can take."""
    options: dict[str, list[str]] = known()["paths"].get(context.params.get("recipe"), {})
    # bash breaks words at "=": then the path came before, and the answer is the value alone.
    before = [word for word in context.params.get("changes") or [] if word]
    if incomplete == "=" or (before and before[-1] == "="):
        path = before[-1] if incomplete == "=" else before[-2] if len(before) > 1 else ""
        return [(value, "") for value in options.get(path, []) if value.startswith(incomplete.removeprefix("="))]
    path, equals, value = incomplete.partition("=")
    if equals:
        return [(f"{path}={name}", "") for name in options.get(path, []) if name.startswith(value)]
    return [(f"{name}=", "") for name in options if name.startswith(incomplete)]


def complete_study(incomplete: str) -> list[Offer]:
    """Registered studies."""
    return [(name, help) for name, help in known()["parts"].get("study", []) if name.startswith(incomplete)]


def complete_detector(incomplete: str) -> list[Offer]:
    """Registered detectors."""
    return [(name, help) for name, help in known()["parts"].get("detector", []) if name.startswith(incomplete)]


def complete_tracker(incomplete: str) -> list[Offer]:
    """Registered trackers."""
    return [(name, help) for name, help in known()["parts"].get("tracker", []) if name.startswith(incomplete)]


def complete_shown(incomplete: str) -> list[Offer]:
    """What ``domtrans show`` takes first: a recipe, or a kind of part."""
    return complete_recipe(incomplete) + [(kind, "") for kind in known()["parts"] if kind.startswith(incomplete)]


def complete_part_or_change(context: typer.Context, incomplete: str) -> list[Offer]:
    """What ``domtrans show`` takes next: names of the kind, or changes to the recipe."""
    parts = known()["parts"].get(context.params.get("recipe"))
    if parts is None:
        return complete_change(context, incomplete)
    return [(name, help) for name, help in parts if name.startswith(incomplete)]


def known() -> dict[str, Any]:
    """``{"parts": {kind: [[name, summary], ...]}, "paths": {recipe: {path: [names that it takes]}}}``."""
    try:
        file = cache_folder() / "completion" / f"{_installed()}.json"
        if file.is_file():
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return found
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            from domtrans.registry.plugins import load_plugins

            found = survey(load_plugins().registry)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(found), encoding="utf-8")
        beside.replace(file)
        return found
    except Exception:  # noqa: BLE001 - a traceback on every Tab is worse than no offer
        return {"parts": {}, "paths": {}}


def survey(registry: Registry) -> dict[str, Any]:
    """Everything that can be offered."""
    from domtrans.errors import DomtransError
    from domtrans.recipe.files import find_recipe
    from domtrans.recipe.schema import PART_KINDS
    from domtrans.registry.parts import Nested
    from domtrans.registry.registry import KINDS

    parts = {
        kind: [(name, registry.get(kind, name).summary.replace("`", "")) for name in registry.names(kind)] for kind in KINDS
    }
    paths: dict[str, dict[str, list[str]]] = {}
    for name in registry.names("recipe"):
        try:
            recipe = find_recipe(name, registry)
        except DomtransError:
            continue  # a recipe whose parts are not all installed
        paths[name] = {path.removesuffix(".name"): [] for path in _leaves(recipe.model_dump(mode="json"))}
        for field, kind in PART_KINDS.items():
            value = getattr(recipe, field)
            places = {f"{field}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {field: value}
            for place, part in places.items():
                paths[name][place] = [*registry.names(kind), "none"]
                options = {} if part is None else dict(registry.options(kind, part))
                nested = {option: inner.kind for option, inner in options.items() if isinstance(inner, Nested)}
                paths[name] |= {f"{place}.{option}": registry.names(inner) for option, inner in nested.items()}
    return {"parts": parts, "paths": paths}


def _leaves(data: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield before + key


def _installed() -> str:
    """A hash of what is installed, without importing any of it."""
    from domtrans import __version__
    from domtrans.registry.plugins import PLUGINS_VARIABLE, find_entry_points

    seen: list[Any] = [__version__, os.environ.get(PLUGINS_VARIABLE)]
    for point in find_entry_points():
        spec = importlib.util.find_spec(point.module_name.partition(".")[0])
        changed = Path(spec.origin).stat().st_mtime_ns if spec and spec.origin else 0
        distribution = (point.distro.name, point.distro.version) if point.distro else ()
        seen.append((point.name, point.module_name, point.object_name, *distribution, changed))
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def _paths(incomplete: str) -> list[str]:
    before, slash, start = incomplete.rpartition("/")
    here = Path(f"{before}{slash}" or ".")
    found = here.iterdir() if here.is_dir() else iter(())
    wanted = [path for path in found if path.name.startswith(start) and not path.name.startswith(".")]
    wanted = [path for path in wanted if path.is_dir() or path.suffix in (".toml", ".json")]
    return sorted(f"{before}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in wanted)
