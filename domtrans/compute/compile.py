"""Networks as torch.compile makes them, for training steps that launch many small operations.

On CUDA a compiled network is one CUDA graph, replayed in every step: at the batch sizes of the paper a GPU otherwise waits
for Python to hand over one small operation after another. On a CPU it gains a twentieth of a step (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from domtrans.errors import DomtransError


def compiled(networks: Sequence[nn.Module], device: torch.device) -> list[nn.Module]:
    """Each network's compiled twin, of the same weights; torch compiles it when it is first called."""
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return [cast("nn.Module", torch.compile(network, dynamic=False, mode=mode)) for network in networks]


def begin_step() -> None:
    """What compiled networks gave before now may be overwritten."""
    torch.compiler.cudagraph_mark_step_begin()


def explain(error: BaseException) -> None:
    """Raise DomtransError if an exception says that torch could not compile, for want of a compiler perhaps."""
    if not isinstance(error, torch._dynamo.exc.TorchDynamoException):
        return
    reason = " ".join(str(error).split())
    raise DomtransError(
        f"train.compile=true: torch could not compile a network: {reason[:200]}; it needs a C++ compiler, on a GPU triton; "
        "install that, or train without train.compile"
    ) from error
