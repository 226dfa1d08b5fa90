"""A lower bound on the time of a step on this machine: its arithmetic and its memory traffic at measured rates.

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

from domtrans.benchmark.profile import synchronize

MIN_PRODUCT_SECONDS = 0.02
"""A product must take this long for its rate to count; matrices are enlarged until it does."""
MAX_MATRIX_SIZE = 16_384
COPY_BYTES = 2**27
"""Bytes that are copied at once: more than caches hold."""
REPEATS = 5


@dataclass(frozen=True)
class LowerBound:
    """The work of a step, and the rates of this machine: all measured."""

    operations: float
    """Floating-point operations of all products and convolutions, forward and backward."""
    bytes_moved: float
    """Bytes that all operations read and write, each operation by itself."""
    operations_per_second: float
    bytes_per_second: float

    @property
    def arithmetic_seconds(self) -> float:
        """Seconds for the operations alone."""
        return self.operations / self.operations_per_second

    @property
    def traffic_seconds(self) -> float:
        """Seconds for the bytes alone."""
        return self.bytes_moved / self.bytes_per_second

    @property
    def seconds(self) -> float:
        """The longer of the two: they can overlap, and neither can be skipped."""
        return max(self.arithmetic_seconds, self.traffic_seconds)


def lower_bound(step: Callable[[], object], device: torch.device, dtype: torch.dtype) -> LowerBound:
    """Count the work of one step, and measure the rates of this machine in this type."""
    with FlopCounterMode(display=False) as operations, TrafficCounter() as traffic:
        step()
    return LowerBound(operations.get_total_flops(), traffic.bytes_moved, product_rate(device, dtype), copy_rate(device))


class TrafficCounter(TorchDispatchMode):
    """Count the bytes of every tensor that an operation reads or writes; a view moves none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch for every operation."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = (item for item in tree_leaves((args, kwargs, result)) if isinstance(item, Tensor))
            self.bytes_moved += sum(map(bytes_in_memory, tensors))
        return result


def bytes_in_memory(tensor: Tensor) -> int:
    """Bytes of a tensor in memory; an expanded dimension counts once."""
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= length if stride else min(length, 1)
    return elements * tensor.element_size()


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second in a product of square matrices."""
    size = 256
    while True:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = fastest(partial(torch.matmul, a, b), device)
        if seconds >= MIN_PRODUCT_SECONDS or size == MAX_MATRIX_SIZE:
            return 2 * size**3 / seconds
        size *= 2


def copy_rate(device: torch.device) -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / fastest(partial(target.copy_, source), device)


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of several repeats, after one that does not count."""
    seconds = []
    for _ in range(1 + REPEATS):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
