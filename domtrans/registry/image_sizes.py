"""The image sizes that a network supports. Its class declares them as ``sizes``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from domtrans.errors import DomtransError

NETWORKS = ("encoder", "generator", "discriminator")
"""The kinds of parts that are built for an image size."""


def sizes_of(factory: Callable[..., Any]) -> Sequence[int] | None:
    """The image sizes that a network declares; None: any."""
    return getattr(factory, "sizes", None)


def supports(factory: Callable[..., Any], size: int) -> bool:
    """Whether a network can be built for an image size."""
    sizes = sizes_of(factory)
    return sizes is None or size in sizes


def in_words(sizes: Sequence[int]) -> str:
    """``"32 pixels"``, ``"32 or 64 pixels"``, ``"32 to 1,024 pixels"``, or ``"32 to 256 pixels in steps of 16"``."""
    if isinstance(sizes, range) and len(sizes) > 2:
        steps = f" in steps of {sizes.step}" if sizes.step > 1 else ""
        return f"{sizes[0]:,} to {sizes[-1]:,} pixels{steps}"
    *others, last = (f"{size:,}" for size in sizes)
    return f"{', '.join(others)} or {last} pixels" if others else f"{last} pixels"


def check_size(kind: str, name: str, factory: Callable[..., Any], size: int) -> None:
    """Raise DomtransError if a network cannot be built for an image size."""
    sizes = sizes_of(factory)
    if sizes is not None and size not in sizes:
        raise DomtransError(f"the {kind} '{name}' supports {in_words(sizes)}, not {size:,}")
