"""Some of many items, evenly spaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], count: int | None) -> list[Item]:
    """At most ``count`` of the items, evenly spaced: the first of each of ``count`` stretches. None: all of them."""
    count = len(items) if count is None else min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
