"""How torchrun started this process, read from its environment variables. It does not import torch."""

from __future__ import annotations

import os


def rank() -> int:
    """Return the number of this process; 0 is the main process, also without torchrun."""
    return _number("RANK", 0) if size() > 1 else 0


def size() -> int:
    """Return how many processes were started together; 1 without torchrun."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def local_rank() -> int:
    """Return the number of this process on its machine, which is also the number of its GPU."""
    return _number("LOCAL_RANK", 0)


def cores() -> int:
    """Return the number of CPU cores for each process on this machine."""
    return (os.cpu_count() or 1) // max(1, _number("LOCAL_WORLD_SIZE", 1))


def command() -> list[str]:
    """Return the command that starts domtrans as this process was started."""
    if size() == 1:
        return ["domtrans"]
    local_size = _number("LOCAL_WORLD_SIZE", size())
    machines = [] if local_size == size() else ["--nnodes", str(size() // local_size)]
    return ["torchrun", *machines, "--nproc-per-node", str(local_size), "-m", "domtrans"]


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
