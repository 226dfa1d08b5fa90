"""Learning rate schedules of short fits, as functions of the step. Those of a recipe are in ``training.optim``."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, *, warmup: int = 50, final: float = 0.02) -> float:
    """The factor on the learning rate at a step: linear warm-up, multiplied by cosine decay.

    Use it in a fit: ``group["lr"] = lr * warmup_cosine(step, steps)``.

    Args:
        step: The step, from 0.
        steps: Number of steps.
        warmup: Steps of the warm-up.
        final: The factor that the decay approaches.

    Returns:
        The factor, above 0 and at most 1.
    """
    decay = final + (1 - final) * (1 + math.cos(math.pi * step / steps)) / 2
    return min(1.0, (step + 1) / warmup) * decay
