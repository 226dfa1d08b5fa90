"""torch's global random generators, from which layers draw initial weights and dropout.

A process has one per device. Nothing else in domtrans draws from them. They are used in blocks that restore their state
afterwards, one thread at a time, so that two trainings in one process do not influence each other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

_LOCK = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with seeded global generators, and restore them afterwards. Other threads that seed them wait.

    Use it to build a network, or for short work in which layers draw random numbers.

    Args:
        seed: Seed of torch's generators, on the CPU and on all GPUs.
    """
    with _LOCK, _restored():
        torch.manual_seed(seed)
        yield


@contextmanager
def reseeded(seed: int) -> Iterator[None]:
    """Run a block with seeded global generators, and restore them afterwards. Other threads do not wait, as for ``reseed``."""
    with _restored():
        reseed(seed)
        yield


def reseed(seed: int) -> None:
    """Seed the global generators for work that takes too long to make other threads wait.

    The work draws the same numbers each time if it is alone in its process. If two trainings share a process, layers with
    dropout draw other numbers.
    """
    with _LOCK:
        torch.manual_seed(seed)


def _restored() -> AbstractContextManager[None]:
    """A block after which the global generators are as before."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    return torch.random.fork_rng(devices=devices)
