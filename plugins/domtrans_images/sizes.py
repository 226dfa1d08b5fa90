"""Image sizes that the networks support, and the side at which their coarsest layers work."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

SIZES = range(32, 257, 16)
"""Sides of the images, in pixels."""
LARGEST_SEED = 7
"""Side of the coarsest layer, at most, where the image size has enough factors of 2."""

Width = Annotated[int, Field(ge=4, le=512)]


def halvings(size: int) -> int:
    """How often a side is halved until it is at most 7 or odd: 64 -> 4 pixels by 4 halvings, 96 -> 6 by 4, 240 -> 15 by 4."""
    count = 0
    while size > LARGEST_SEED and size % 2 == 0:
        size, count = size // 2, count + 1
    return count
