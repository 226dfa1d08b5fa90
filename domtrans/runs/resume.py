"""Which changes of the recipe and of the data a resumed run accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from domtrans.data.classes import list_names
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.recipe.overrides import Difference, differences
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part

FREE_PATHS = (
    "train.steps",
    "train.log_every",
    "train.save_every",
    "train.save_minutes",
    "train.sample_every",
    "train.keep",
    "train.workers",
)
"""Paths that may differ when a run resumes."""
ALLOWED_PATHS = ("train", "generator_losses", "discriminator_losses", "view", "discriminator_view", "metrics", "description")
"""Paths that may differ if ``--allow-changes`` names them: the saved weights and moments still fit."""
FORBIDDEN_PATHS = ("train.generator_optimizer.name", "train.discriminator_optimizer.name", "train.begin")
"""Exceptions: another optimizer cannot use the saved moments, and a run begins once."""
DATA_PATHS = ("source", "target")
"""Paths that may differ if ``--allow-changes data`` is given."""
DATA = "data"
"""The word that allows other data."""


def check_same(path: str | Path, old: Recipe, new: Recipe, *, resume: bool, allowed: Sequence[str]) -> list[str]:
    """Check that a run may continue with another recipe.

    Args:
        path: The run folder, for the message.
        old: The recipe of the run.
        new: The recipe to continue with.
        resume: Whether the user asked to resume, so that free paths may differ.
        allowed: The paths that ``--allow-changes`` names; "data" for all of source and target.

    Returns:
        The changes at allowed paths: ``"path: old value -> new value"``.

    Raises:
        DomtransError: For any other change.
    """
    changed = differences(old, new)
    if resume:
        changed = [change for change in changed if change.path not in FREE_PATHS]
    allowed = (*allowed, *DATA_PATHS) if DATA in allowed else allowed
    accepted = [change for change in changed if is_below(change.path, allowed)]
    changed = [change for change in changed if change not in accepted]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        hint = ""
        if all(may_change(change.path) for change in changed):
            hint = " (or continue with these changes: --resume --allow-changes path=value, for each of them)"
        elif all(is_below(change.path, DATA_PATHS) for change in changed):
            hint = f" (or continue on other data: --resume --allow-changes {DATA})"
        named = "; ".join(map(str, changed[:3]))
        raise DomtransError(f"{path} holds a run of another recipe ({named}{more}); choose another folder with --out{hint}")
    return [str(change) for change in accepted if not _is_python_data(change, old, new)]


def describe_data(images: Mapping[str, ImageSet]) -> dict[str, dict[str, Any]]:
    """What a run folder keeps about its data.

    Args:
        images: The sets by name: "source train", "source test", "target train" and "target test".
    """
    return {
        name: {"fingerprint": one.fingerprint(), "count": len(one), "classes": list(one.classes), "about": one.about}
        for name, one in images.items()
    }


def data_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How the data of a run differs from what it was: ``"source train: 48 -> 64 images"`` for every set that differs.

    Args:
        before: What ``describe_data`` returned when the run was started. A set or a key that is missing is not compared.
        now: What it returns for the present data.
    """
    changes = []
    for name, new in now.items():
        old = before.get(name)
        if not isinstance(old, Mapping) or old.get("fingerprint", new["fingerprint"]) == new["fingerprint"]:
            continue
        facts = []
        if old.get("count", new["count"]) != new["count"]:
            facts.append(f"{old['count']} -> {new['count']} images")
        if old.get("classes", new["classes"]) != new["classes"]:
            facts.append(f"classes {_names(old['classes'])} -> {_names(new['classes'])}")
        changes.append(f"{name}: {', '.join(facts) or 'other images or labels'}")
    return changes


def check_data(path: str | Path, before: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> list[str]:
    """Check that a run continues on the data that it was started with.

    Args:
        path: The run folder, for the message.
        before: What ``describe_data`` returned when the run was started.
        now: What it returns for the present data.
        allowed: Whether the user accepts other data.

    Returns:
        The changes, if they are allowed.

    Raises:
        DomtransError: For data that differs, unless it is allowed.
    """
    changes = data_changes(before, now)
    if changes and not allowed:
        raise DomtransError(
            f"the data of the run in {path} has changed since it was started ({'; '.join(changes)}); restore the data, choose "
            f"another folder with --out, or accept the change: --resume --allow-changes {DATA}"
        )
    return changes


def may_change(path: str) -> bool:
    """Whether ``--allow-changes`` can change this path of a run."""
    return is_below(path, ALLOWED_PATHS) and not is_below(path, FORBIDDEN_PATHS)


def is_below(path: str, parents: Sequence[str]) -> bool:
    """Whether a path of a recipe is one of ``parents`` or below one."""
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


def _is_python_data(change: Difference, old: Recipe, new: Recipe) -> bool:
    """Whether a change is in an option of data from Python, which ``check_data`` describes better."""
    path, _, option = change.path.partition(".")
    parts = [getattr(recipe, path, None) for recipe in (old, new)]
    return bool(option) and path in DATA_PATHS and all(isinstance(part, Part) and part.name == "python" for part in parts)


def _names(classes: Any) -> str:
    return list_names([str(name) for name in classes]) if isinstance(classes, list) and classes else "none"
