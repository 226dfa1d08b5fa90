"""torch.compile for the networks of a training step, which launches many small operations.

On CUDA a compiled network is one CUDA graph, replayed in every step. Without it, a GPU at the paper's batch sizes waits for
Python to launch one small operation after another. On a CPU a step is about 5 % faster (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from domtrans.errors import DomtransError, reason_of


def compile_networks(networks: Sequence[nn.Module], device: torch.device, *, graphs: bool = True) -> list[nn.Module]:
    """Return a compiled version of each network, which shares its weights. torch compiles it at the first call.

    Args:
        networks: The networks.
        device: Where they are.
        graphs: On CUDA, make a CUDA graph of each; not where the whole step is one.
    """
    mode = "reduce-overhead" if device.type == "cuda" and graphs else "default"
    return [cast("nn.Module", torch.compile(network, dynamic=False, mode=mode)) for network in networks]


def begin_step() -> None:
    """Allow compiled networks to overwrite the outputs of the previous step."""
    torch.compiler.cudagraph_mark_step_begin()


def raise_if_not_compiled(error: BaseException) -> None:
    """Raise DomtransError if an exception says that torch could not compile, for example because there is no compiler."""
    if not isinstance(error, torch._dynamo.exc.TorchDynamoException):
        return
    raise DomtransError(
        f"train.compile=true: torch could not compile a network: {reason_of(error)}; this needs a C++ compiler, and triton "
        "on a GPU; install them, or train without train.compile"
    ) from error
