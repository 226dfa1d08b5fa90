"""What may differ between the recipe of a run and the one that it goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.recipe.overrides import differences
from domtrans.recipe.schema import Recipe

MAY_CHANGE = ("train", "generator_losses", "discriminator_losses", "view", "discriminator_view", "metrics", "description")
"""What may also differ when the change is named (``--allow-changes``): the saved weights and moments still fit."""
NEVER_CHANGE = ("train.generator_optimizer.name", "train.discriminator_optimizer.name")
"""Another optimizer has no use for the saved moments."""

FREE_TO_CHANGE = ("train.steps", "train.log_every", "train.save_every", "train.sample_every", "train.keep", "train.workers")
"""Paths that may differ when a run goes on with ``resume``; any other change would make it another experiment."""


def check_same(path: Path, old: Recipe, new: Recipe, *, resume: bool, allowed: Sequence[str]) -> list[str]:
    """The changes that are allowed by name; raises DomtransError for any other that is not free.

    ``path``: the run's folder, for the message.
    """
    changed = differences(old, new)
    if resume:
        changed = [change for change in changed if change.partition(":")[0] not in FREE_TO_CHANGE]
    named = [change for change in changed if under_any(change.partition(":")[0], allowed)]
    changed = [change for change in changed if change not in named]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        hint = " (or go on with it all the same: --resume --allow-changes path=value, naming each)"
        mendable = all(may_change(change.partition(":")[0]) for change in changed)
        raise DomtransError(
            f"{path} holds a run of another recipe ({'; '.join(changed[:3])}{more}); choose another folder with --out"
            f"{hint if mendable else ''}"
        )
    return named


def may_change(path: str) -> bool:
    """Whether a run may go on with another value at this path, if the change is named."""
    return under_any(path, MAY_CHANGE) and not under_any(path, NEVER_CHANGE)


def under_any(path: str, tops: Sequence[str]) -> bool:
    """Whether a path of a recipe is one of those given or lies below one."""
    return any(path == top or path.startswith(f"{top}.") for top in tops)
