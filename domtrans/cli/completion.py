"""Shell completion: recipes, parts, and paths of a recipe with the names that they can take.

Loading plugins takes seconds, because they import torch. So the suggestions are stored in the cache folder, under a hash of
the installed plugins; only the first Tab after an installation has to wait. Nothing here may print or raise.
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

from domtrans.pretrained.models import list_models
from domtrans.storage.paths import cache_folder

if TYPE_CHECKING:
    from domtrans.registry.registry import Registry

Suggestion = tuple[str, str]
"""A word and its help."""


def complete_recipe(incomplete: str) -> list[Suggestion]:
    """Complete the name of a recipe, a recipe file or a folder."""
    suggestions = [(name, help) for name, help in known()["parts"].get("recipe", []) if name.startswith(incomplete)]
    return suggestions + [(path, "") for path in _paths(incomplete)]


def complete_run(incomplete: str) -> list[Suggestion]:
    """Complete the name of a model that comes with domtrans, or a folder."""
    models = [(model.name, model.description) for model in list_models() if model.name.startswith(incomplete)]
    return models + [(path, "") for path in _paths(incomplete)]


def complete_change(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Complete a path of the recipe; after ``=``, the names that the path can take."""
    options: dict[str, list[str]] = known()["paths"].get(context.params.get("recipe"), {})
    # bash splits words at "=": then the path is the word before, and only the value is completed.
    before = [word for word in context.params.get("changes") or [] if word]
    if incomplete == "=" or (before and before[-1] == "="):
        path = before[-1] if incomplete == "=" else before[-2] if len(before) > 1 else ""
        return [(value, "") for value in options.get(path, []) if value.startswith(incomplete.removeprefix("="))]
    path, equals, value = incomplete.partition("=")
    if equals:
        return [(f"{path}={name}", "") for name in options.get(path, []) if name.startswith(value)]
    return [(f"{name}=", "") for name in options if name.startswith(incomplete)]


def complete_study(incomplete: str) -> list[Suggestion]:
    """Complete the name of a study."""
    return [(name, help) for name, help in known()["parts"].get("study", []) if name.startswith(incomplete)]


def complete_detector(incomplete: str) -> list[Suggestion]:
    """Complete the name of a detector."""
    return [(name, help) for name, help in known()["parts"].get("detector", []) if name.startswith(incomplete)]


def complete_tracker(incomplete: str) -> list[Suggestion]:
    """Complete the name of a tracker."""
    return [(name, help) for name, help in known()["parts"].get("tracker", []) if name.startswith(incomplete)]


def complete_shown(incomplete: str) -> list[Suggestion]:
    """Complete the first argument of ``domtrans show``: a recipe, or a kind of part."""
    return complete_recipe(incomplete) + complete_kind(incomplete)


def complete_kind(incomplete: str) -> list[Suggestion]:
    """Complete a kind of part."""
    return [(kind, "") for kind in known()["parts"] if kind.startswith(incomplete)]


def complete_part_or_change(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Complete the next arguments of ``domtrans show``: a part of the kind, or changes to the recipe."""
    parts = known()["parts"].get(context.params.get("recipe"))
    if parts is None:
        return complete_change(context, incomplete)
    return [(name, help) for name, help in parts if name.startswith(incomplete)]


def known() -> dict[str, Any]:
    """All suggestions: ``{"parts": {kind: [[name, summary], ...]}, "paths": {recipe: {path: [names]}}}``."""
    try:
        file = cache_folder() / "completion" / f"{_installed()}.json"
        if file.is_file():
            stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return stored
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            from domtrans.registry.plugins import load_plugins

            collected = collect(load_plugins().registry)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(collected), encoding="utf-8")
        temporary.replace(file)
        return collected
    except Exception:  # noqa: BLE001 - a traceback on every Tab is worse than no suggestion
        return {"parts": {}, "paths": {}}


def collect(registry: Registry) -> dict[str, Any]:
    """All suggestions, as ``known`` returns them."""
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
        absent = {field: kind for field, kind in PART_KINDS.items() if getattr(recipe, field) is None}
        paths[name] |= {field: [*registry.names(kind), "none"] for field, kind in absent.items()}
        for path, kind, part in recipe.parts():
            paths[name][path] = [*registry.names(kind), *([] if kind == "optimizer" else ["none"])]
            options = dict(registry.options(kind, part))
            nested = {option: inner.kind for option, inner in options.items() if isinstance(inner, Nested)}
            paths[name] |= {f"{path}.{option}": registry.names(inner) for option, inner in nested.items()}
    return {"parts": parts, "paths": paths}


def _leaves(data: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _installed() -> str:
    """A hash of the installed plugins. It imports none of them."""
    from domtrans import __version__
    from domtrans.registry.plugins import PLUGINS_VARIABLE, find_entry_points

    state: list[Any] = [__version__, os.environ.get(PLUGINS_VARIABLE)]
    for point in find_entry_points():
        spec = importlib.util.find_spec(point.module_name.partition(".")[0])
        changed = Path(spec.origin).stat().st_mtime_ns if spec and spec.origin else 0
        distribution = (point.distro.name, point.distro.version) if point.distro else ()
        state.append((point.name, point.module_name, point.object_name, *distribution, changed))
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _paths(incomplete: str) -> list[str]:
    """Folders, and files that can be recipes."""
    parent, slash, start = incomplete.rpartition("/")
    folder = Path(f"{parent}{slash}" or ".")
    try:
        paths = [path for path in folder.iterdir() if path.name.startswith(start) and not path.name.startswith(".")]
        paths = [path for path in paths if path.is_dir() or path.suffix in (".toml", ".json")]
        names = [f"{path.name}{'/' if path.is_dir() else ''}" for path in paths]
    except OSError:  # it is no folder, or cannot be read
        return []
    return sorted(f"{parent}{slash}{name}" for name in names)
