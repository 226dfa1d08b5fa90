"""``--time`` of ``domtrans train``: the number of steps that fit into a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import domtrans
from domtrans.cli.interrupt import parse_duration
from domtrans.cli.shared import RunContext
from domtrans.compute import launcher
from domtrans.errors import DomtransError
from domtrans.storage.run_files import RECIPE_FILE

if TYPE_CHECKING:
    from domtrans.recipe.schema import Recipe


def with_steps_for(
    recipe: Recipe, duration: str, changes: Sequence[str], folder: Path, context: RunContext, *, device: str
) -> Recipe:
    """The recipe with as many ``train.steps`` as fit into a duration. A run that has begun keeps its number.

    Args:
        recipe: The resolved recipe.
        duration: The time, as ``parse_duration`` takes it.
        changes: The changes of the command, which must not set ``train.steps``.
        folder: The run folder.
        context: The parts, and the listener that shows progress.
        device: Where to train.

    Raises:
        DomtransError: If the duration is not one, ``train.steps`` is set too, several processes train, or nothing fits.
    """
    seconds = parse_duration(duration)
    if any(change.startswith("train.steps=") for change in changes):
        raise DomtransError("--time sets train.steps, so leave out one of them")
    if launcher.size() > 1:
        raise DomtransError(f"--time measures one process; give train.steps to a training that {launcher.name()} starts")
    if (folder / RECIPE_FILE).is_file():
        steps = domtrans.find_recipe(str(folder), context.registry).train.steps
    else:
        from domtrans.benchmark.time_budget import steps_within
        from domtrans.session import Progress

        steps = steps_within(recipe, seconds, context.registry, device=device, listeners=context.listener)
        context.listener(Progress("time", 1, 1, note=f"{steps:,} steps fit into {duration}"))
    return domtrans.override(recipe, {"train.steps": steps}, context.registry)
