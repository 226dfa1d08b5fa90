"""Memory: how much was used, and an error message for when it is not enough."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from domtrans.errors import DomtransError

OUT_OF_MEMORY_MESSAGES = ("allocate memory", "out of memory", "calculation overflowed", "Overflow when unpacking")
"""Substrings of torch's error messages for tensors that do not fit into memory, or whose size overflows an integer."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's ``mallopt``: free bytes at the end of the heap, and size of a block, that go back to the system."""
MAX_MMAP_THRESHOLD_BYTES = 2**25
"""The largest threshold that glibc accepts."""
MAX_TRIM_THRESHOLD_BYTES = 2**31 - 1


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that there was not enough memory."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_MESSAGES)


@contextmanager
def enough_memory(purpose: str, advice: str) -> Iterator[None]:
    """Run a block that may need more memory than the machine has; if so, raise DomtransError.

    Args:
        purpose: What the memory is for, e.g. "the encoder 'resnet'".
        advice: What the user can do.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DomtransError(f"there is not enough memory for {purpose}; {advice}") from error


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """A block in which this process keeps freed memory for later tensors. Without glibc, it does nothing.

    Otherwise glibc returns the memory of a step's tensors to the system, and the next step gets it back page by page.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "gnu_get_libc_version"):
        yield
        return
    assert libc is not None
    libc.mallopt(M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD_BYTES)
    libc.mallopt(M_TRIM_THRESHOLD, MAX_TRIM_THRESHOLD_BYTES)
    try:
        yield
    finally:
        libc.mallopt(M_TRIM_THRESHOLD, 2 * MAX_MMAP_THRESHOLD_BYTES)
        libc.malloc_trim(0)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Return ``{"memory_mb": ...}``, the largest amount of memory in use so far, in MiB.

    On CUDA it is GPU memory of torch's tensors. Elsewhere it is the memory of this process; empty on Windows.
    """
    if device.type == "cuda":
        return {"memory_mb": round(torch.cuda.max_memory_allocated(device) / 2**20)}
    if sys.platform == "win32":  # it has no getrusage
        return {}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {"memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)}


def available_memory() -> int:
    """Return the bytes that this process can still allocate: free memory, or less if a limit of the process is lower.

    The limits are those of its control group, as containers and batch systems set them, and of its address space.
    """
    return max(0, min(psutil.virtual_memory().available, *_cgroup_bytes(), *_address_space_bytes()))


def _cgroup_bytes() -> Iterator[int]:
    """Yield the bytes left under each limit of the control group of this process."""
    for limit_file, usage_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # no such file, or the limit is "max"
            yield int(Path(limit_file).read_text()) - int(Path(usage_file).read_text())


def _address_space_bytes() -> Iterator[int]:
    """Yield the bytes left under the limit on the address space, if there is one."""
    with suppress(ImportError, OSError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield limit - psutil.Process().memory_info().vms
