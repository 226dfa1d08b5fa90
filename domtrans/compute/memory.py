"""How much memory was used, and what to say when there was not enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from domtrans.errors import DomtransError

TOO_LARGE = ("allocate memory", "out of memory", "calculation overflowed", "Overflow when unpacking")
"""Words of torch when what is asked for does not fit into memory, or into the numbers that count it."""


def lacking(error: BaseException) -> bool:
    """Whether an exception says that memory was short."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in TOO_LARGE)


@contextmanager
def enough_memory(what: str, advice: str) -> Iterator[None]:
    """A block that may ask for more than the machine has; then DomtransError says so, naming ``what`` and ``advice``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacking(error):
            raise
        raise DomtransError(f"there is not enough memory for {what}; {advice}") from error


def peak(device: torch.device) -> dict[str, int]:
    """``{"memory_mb": ...}``: the most that was in use at a time so far, in MiB.

    On CUDA of the GPU's memory, by torch's tensors; elsewhere all of this process, where the system tells.
    """
    if device.type == "cuda":
        return {"memory_mb": round(torch.cuda.max_memory_allocated(device) / 2**20)}
    if sys.platform == "win32":  # it has no getrusage
        return {}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {"memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)}
