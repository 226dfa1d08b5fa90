"""The least time that the work of a step takes on this machine: its arithmetic and its memory traffic at measured rates.

After Williams, Waterman, Patterson: Roofline, Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from domtrans.benchmark.profile import finish

LONG_ENOUGH = 0.02
"""Seconds that a product must take for its rate to count; a larger matrix is taken until it does."""
LARGEST = 16_384
COPIED = 2**27
"""Bytes that are copied at a time: more than caches hold."""
TRIES = 5


@dataclass(frozen=True)
class Floor:
    """What a step has to do, and the rates at which this machine can: both measured."""

    operations: float
    """Floating-point operations of all products and convolutions, forward and backward."""
    moved: float
    """Bytes that all operations read and write, each on its own."""
    operations_per_second: float
    moved_per_second: float

    @property
    def arithmetic(self) -> float:
        """Seconds for the operations alone."""
        return self.operations / self.operations_per_second

    @property
    def traffic(self) -> float:
        """Seconds for the bytes alone."""
        return self.moved / self.moved_per_second

    @property
    def seconds(self) -> float:
        """The longer of the two: both may go on at once, neither can be skipped."""
        return max(self.arithmetic, self.traffic)


def floor(step: Callable[[], object], device: torch.device, dtype: torch.dtype) -> Floor:
    """Count what one step does, and measure what this machine can do in that type."""
    with FlopCounterMode(display=False) as operations, Traffic() as traffic:
        step()
    return Floor(operations.get_total_flops(), traffic.moved, product_rate(device, dtype), copy_rate(device))


class Traffic(TorchDispatchMode):
    """Counts the bytes of every tensor that an operation reads or writes; a view moves none."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch for every operation."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.moved += sum(stored(item) for item in tree_leaves((args, kwargs, result)) if isinstance(item, Tensor))
        return result


def stored(tensor: Tensor) -> int:
    """Bytes of a tensor in memory; what is only repeated is there once."""
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= length if stride else min(length, 1)
    return elements * tensor.element_size()


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a product of square matrices large enough to be measured."""
    size = 256
    while True:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        taken = fastest(partial(torch.matmul, a, b), device)
        if taken >= LONG_ENOUGH or size == LARGEST:
            return 2 * size**3 / taken
        size *= 2


def copy_rate(device: torch.device) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED / fastest(partial(target.copy_, source), device)


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of some tries, after one that does not count."""
    taken = []
    for _ in range(1 + TRIES):
        finish(device)
        began = time.perf_counter()
        work()
        finish(device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
