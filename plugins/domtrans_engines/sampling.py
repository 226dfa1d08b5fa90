"""How a trained g chooses the values of slots: by its logits, with noise at a temperature."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from domtrans import DomtransError, DrawingEngine

DRAWINGS_COMPARED = 8
"""Random drawings in which values are compared. Several, because some values show in some drawings only."""


def value_groups(engine: DrawingEngine, attributes: Sequence[str]) -> list[Tensor]:
    """The values of every slot that show the same values of some attributes, whatever the other slots are.

    Args:
        engine: The engine, which says what a drawing shows.
        attributes: Names of its attributes.

    Returns:
        For every slot which of its n values each of its k groups has: bool [k, n].

    Raises:
        DomtransError: If no drawing shows one of the attributes.
    """
    if not attributes:
        return [torch.ones(1, size, dtype=torch.bool) for size in engine.space.sizes]
    space, rng = engine.space, random.Random(0)  # the same groups whenever g is built
    drawings = [[rng.randrange(size) for size in space.sizes] for _ in range(DRAWINGS_COMPARED)]
    known: set[str] = set()
    groups = []
    for slot, size in enumerate(space.sizes):
        shown: list[Hashable] = []
        for value in range(size):
            changed = [[*drawing[:slot], value, *drawing[slot + 1 :]] for drawing in drawings]
            found = [engine.attributes(space.parameters(drawing)) for drawing in changed]
            known.update(*found)
            shown.append(tuple(each.get(name) for each in found for name in attributes))
        groups.append(torch.tensor([[each == group for each in shown] for group in dict.fromkeys(shown)]))
    if unknown := sorted(set(attributes) - known):
        has = f"has {', '.join(sorted(known))}" if known else "has none"
        raise DomtransError(f"the drawings of the target's engine have no attribute '{unknown[0]}' (the engine {has})")
    return groups


def choose(logits: Tensor, noise: Tensor, temperature: float, groups: Tensor, group_temperature: float) -> Tensor:
    """Choose a group of values, and then one of its values.

    With both temperatures 1, a value is chosen as often as the softmax of the logits says (the Gumbel-max trick). The largest
    of the noisy logits of a group is itself a Gumbel variable around the logarithm of the sum of their exponentials, so the
    same noise serves for both choices.

    Args:
        logits: [B, n]
        noise: Standard Gumbel noise [B, n].
        temperature: Factor of the noise in the choice of a value.
        groups: Which values each group has: bool [k, n]. Every value is in one group.
        group_temperature: Factor of the noise in the choice of a group.

    Returns:
        The index of the value: int64 [B].
    """
    in_groups = logits[:, None].masked_fill(~groups, -torch.inf)  # [B, k, n]
    sums = in_groups.logsumexp(2)
    largest = (in_groups + noise[:, None]).amax(2)
    chosen = (sums + group_temperature * (largest - sums)).argmax(1)
    return (logits + temperature * noise).masked_fill(~groups[chosen], -torch.inf).argmax(1)
