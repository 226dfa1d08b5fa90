"""How this process was started: alone, or by torchrun as one of several that train together. Knows nothing of torch."""

from __future__ import annotations

import os


def rank() -> int:
    """Which of the processes this is; 0 leads, and a process alone is 0."""
    return _number("RANK", 0) if size() > 1 else 0


def size() -> int:
    """How many processes were started together; 1 without torchrun."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def local_rank() -> int:
    """Which of this machine's processes this is, and so which of its GPUs it takes."""
    return _number("LOCAL_RANK", 0)


def cores() -> int:
    """Cores of this machine for each of the processes started on it."""
    return (os.cpu_count() or 1) // max(1, _number("LOCAL_WORLD_SIZE", 1))


def command() -> list[str]:
    """What starts domtrans the way this process was started."""
    if size() == 1:
        return ["domtrans"]
    here = _number("LOCAL_WORLD_SIZE", size())
    machines = [] if here == size() else ["--nnodes", str(size() // here)]
    return ["torchrun", *machines, "--nproc-per-node", str(here), "-m", "domtrans"]


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
