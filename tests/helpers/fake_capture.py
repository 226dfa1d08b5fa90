"""Record a step on a CPU as CUDA records a graph: operations without Python, on the memory that they were recorded with.

A value that the step computed in Python is fixed by the recording, as in a CUDA graph, and a replay with the wrong value gives
other weights than an eager step. An operation whose result the host needs is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from domtrans.compute.capture import Tensors


def tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Operations(TorchDispatchMode):
    """Notes every operation, and what all memory held before the first operation that used it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for tensor in tensors_in((args, kwargs)):
            storage = tensor.untyped_storage()
            self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = func(*args, **kwargs)
        if not func.is_view:
            self.calls.append((func, args, kwargs, tensors_in(result)))
        return result


def one_hot(index: Tensor, count: int) -> Tensor:
    """``one_hot`` as on CUDA: on a CPU it also reads the smallest and the largest index."""
    return index.new_zeros(*index.shape, count).scatter_(-1, index[..., None], 1)


class FakeRecorder:
    """Records as ``CudaRecorder`` does. Recording leaves memory and random generators as they were."""

    def __init__(self, *generators: torch.Generator) -> None:
        self.generators = (torch.default_generator, *generators)
        self.recorded = self.replayed = 0

    def warm_up(self, work: Callable[[], Tensors]) -> Tensors:
        return work()

    def record(self, work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
        states = [generator.get_state() for generator in self.generators]
        with Operations() as operations, patch.object(torch.nn.functional, "one_hot", one_hot):
            results = work()
        for storage, before in operations.before.values():
            storage.copy_(before)
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)
        self.recorded += 1

        @torch.no_grad()
        def replay() -> None:
            self.replayed += 1
            for func, args, kwargs, recorded in operations.calls:
                for old, new in zip(recorded, tensors_in(func(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)

        return results, replay
