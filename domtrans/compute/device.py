"""Device and precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from domtrans.compute.cpu_convolution import FasterConvolutions
from domtrans.compute.precision import Precision
from domtrans.errors import DomtransError


def pick_device(name: str = "auto") -> torch.device:
    """Return the named device; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        DomtransError: If this machine does not have the device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise DomtransError(f"the device '{name}' is not available here; use cpu, cuda, cuda:N, mps or auto") from None
    return device


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the autocast type. "auto" is bfloat16 if the hardware supports it natively, else float32."""
    if precision == "float32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    native = {
        "cuda": lambda: torch.cuda.get_device_capability(device) >= (8, 0),
        "cpu": lambda: bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()),
    }.get(device.type, lambda: False)
    return torch.bfloat16 if native() else torch.float32


def to_float64(values: Tensor) -> Tensor:
    """The values of any tensor in float64, on the CPU: the MPS of a Mac has no float64."""
    return values.cpu().double()


@contextmanager
def autocast(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Run a block in mixed precision, with faster convolutions on a CPU. Does nothing for float32."""
    if dtype == torch.float32:
        yield
        return
    with torch.autocast(device.type, dtype), FasterConvolutions(dtype) if device.type == "cpu" else nullcontext():
        yield
