"""Torch's global generators: layers draw initial weights and dropout from them, and a process has but one of each.

Nothing else here draws from them. Their use is kept to blocks that leave them as they were, one thread at a time, so that
two trainings in one process do not meet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_IN_USE = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block in which the global generators are seeded and no other thread seeds them; put back afterwards.

    For building a network, and for short work in which layers draw: other trainings in the process wait meanwhile.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with _IN_USE, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def reseed(seed: int) -> None:
    """Seed the global generators for work that is too long to keep other threads waiting.

    Alone in its process such work draws the same each time. Beside another training, layers with dropout do not.
    """
    with _IN_USE:
        torch.manual_seed(seed)
