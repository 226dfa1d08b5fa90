"""Torch's random generators and its deterministic algorithms, for the duration of a training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from domtrans.errors import DomtransError, reason_of

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def isolated_algorithms(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """A block after which torch's global generators and settings are as before.

    Args:
        device: The device that the block computes on.
        deterministic: Use only algorithms that give the same result every time. Raises DomtransError for an operation
            that has none on this device.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), _deterministic() if deterministic else nullcontext():
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
    before, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, workspace = torch.backends.cudnn.benchmark, os.environ.get(CUBLAS_WORKSPACE)
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")  # cuBLAS needs it
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise DomtransError(
            f"train.deterministic=true: torch has no deterministic form of an operation of this recipe on this device "
            f"({reason_of(error)}); train on the CPU, change the part, or set it to false"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(CUBLAS_WORKSPACE, None)
