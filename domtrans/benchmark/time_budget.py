"""How many training steps fit into a time."""

from __future__ import annotations

import time

from domtrans.benchmark.bench import build_trainer, open_session
from domtrans.errors import DomtransError
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.session import Listeners, as_listeners
from domtrans.training.experiment import prepare

WARM_UP_STEPS = 3
"""Steps before those that are timed."""
MAX_STEPS = 20
"""Timed steps."""
MAX_SECONDS = 30.0
"""Time after which no further step is timed."""
SHARE_OF_STEPS = 0.9
"""Share of the time after the preparation that is for steps; the rest is for samples, saves and measuring."""


def steps_within(recipe: Recipe, seconds: float, registry: Registry, *, device: str = "auto", listeners: Listeners = ()) -> int:
    """Measure how many training steps of a recipe fit into a time on this machine, with the preparation and the measuring.

    f is fitted on the way, and the cache keeps it, so the training that follows does not fit it again.

    Args:
        recipe: The resolved recipe; its ``train.steps`` is not read.
        seconds: The time.
        registry: The parts.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        listeners: One function, or several, called with every Progress.

    Raises:
        DomtransError: If the preparation alone takes the time.
    """
    began = time.perf_counter()
    with open_session(recipe, device, as_listeners(listeners)) as session:
        prepare(recipe, registry, session)
        trainer, _ = build_trainer(recipe, registry, session)
        phase, durations = session.during("time"), []
        for turn in range(WARM_UP_STEPS + MAX_STEPS):
            phase.progress(turn, WARM_UP_STEPS + MAX_STEPS)
            start = time.perf_counter()
            losses = trainer.step()
            sum(value.item() for value in losses.values())  # waits for the device
            durations.append(time.perf_counter() - start)
            if turn > WARM_UP_STEPS and sum(durations) > MAX_SECONDS:
                break
        phase.progress(WARM_UP_STEPS + MAX_STEPS, WARM_UP_STEPS + MAX_STEPS)
    spent, timed = time.perf_counter() - began, durations[WARM_UP_STEPS:]
    return steps_left(seconds, spent, sum(timed) / len(timed))


def steps_left(seconds: float, spent: float, step_seconds: float) -> int:
    """Steps of ``step_seconds`` that fit into ``seconds`` of which some are spent; DomtransError if none fits."""
    steps = int(SHARE_OF_STEPS * (seconds - spent) / step_seconds)
    if steps < 1:
        raise DomtransError(
            f"the preparation took {spent:.0f} of {seconds:.0f} seconds, so no step fits into the time; f is in the cache "
            "now, so the same command has more time for steps, or give a longer --time"
        )
    return steps
