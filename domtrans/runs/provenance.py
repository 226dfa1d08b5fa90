"""Where a model comes from: what its file records for those who use it, check it, or train it again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from domtrans.data.image_set import ImageSet
from domtrans.recipe.schema import Recipe
from domtrans.registry.describe import describe
from domtrans.registry.parts import Part, nested_parts
from domtrans.registry.registry import Registry
from domtrans.runs.folder import versions
from domtrans.session import Session


def origin_of(recipe: Recipe, registry: Registry, session: Session, source: ImageSet, target: ImageSet) -> dict[str, Any]:
    """The metadata of a model file besides its recipe and its step.

    Args:
        recipe: The resolved recipe.
        registry: The parts.
        session: Where the run is computed.
        source: Source training images.
        target: Target training images.

    Returns:
        Plain values: classes, channels, seed, fingerprints of the data, plugins, versions, machine, commit and command.
    """
    return {
        "classes": list(source.classes),
        "channels": target.channels,
        "seed": recipe.seed,
        "data": {"source": source.fingerprint(), "target": target.fingerprint()},
        "plugins": dict(sorted(_plugins(recipe, registry))),
        "versions": versions(),
        "computed_on": computed_on(session, deterministic=recipe.train.deterministic),
        "git": git_state(Path.cwd()),
        "made_by": made_by(sys.argv),
    }


def computed_on(session: Session, *, deterministic: bool = False) -> dict[str, Any]:
    """What results depend on besides recipe and versions: equal values mean equal results."""
    cuda = session.device.type == "cuda"
    return {
        "device": session.device.type,
        "name": torch.cuda.get_device_name(session.device) if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": str(session.dtype).removeprefix("torch."),
        "deterministic": deterministic,
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a folder's repository, and whether tracked files differ from it; None without git or a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def made_by(arguments: list[str]) -> str:
    """The command line of domtrans, or "domtrans.train" for any other program."""
    program = Path(arguments[0]) if arguments else Path()
    is_domtrans = program.stem == "domtrans" or (program.name == "__main__.py" and program.parent.name == "domtrans")
    return shlex.join(["domtrans", *arguments[1:]]) if is_domtrans else "domtrans.train"


def parts_of(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, Part]]:
    """``(kind, part)`` for every part of a recipe, each followed by the parts nested in it."""
    for _, kind, part in recipe.parts():
        yield from _with_nested(registry, kind, part)


def credits_of(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, str]]:
    """``("kind name", licence)`` for every part whose docstring states a licence, and for every domain."""
    for kind, name in dict.fromkeys((kind, part.name) for kind, part in parts_of(recipe, registry)):
        stated = describe(registry.get(kind, name)).licence
        if stated or kind == "domain":
            yield f"{kind} {name}", stated or "not stated; find it out before you share what was made from this data"


def _with_nested(registry: Registry, kind: str, part: Part) -> Iterator[tuple[str, Part]]:
    yield kind, part
    options = registry.options(kind, part)
    for nested in nested_parts([getattr(options, name) for name in type(options).model_fields]):
        yield from _with_nested(registry, nested.kind, nested.part)


def _plugins(recipe: Recipe, registry: Registry) -> Iterator[tuple[str, str]]:
    """``("kind name", distribution and version)`` for every part of a recipe."""
    for kind, part in parts_of(recipe, registry):
        owner = registry.get(kind, part.name).owner
        yield f"{kind} {part.name}", registry.origins.get(owner, owner)


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return completed.stdout.strip() if completed.returncode == 0 else ""
