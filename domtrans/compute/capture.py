"""A training step recorded once as a CUDA graph, and then replayed.

At the paper's batch sizes a GPU waits for Python to launch hundreds of small operations. A CUDA graph launches all of them at
once. It has no Python: it repeats the same operations on the same memory, so inputs are copied to where they were while it
was recorded, and what changes with every step must be a tensor. Whatever else the step depends on is part of a key, and every
key has a recording of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from domtrans.errors import DomtransError, reason_of

WARM_UP_CALLS = 3
"""Calls of a key before it is recorded: libraries and optimizers allocate in them what they keep."""

Tensors = Mapping[str, Tensor]
Step = Callable[[Tensors], Tensors]
"""A function of tensors by name. It also changes weights, moments and buffers, in place."""


class Recorder(Protocol):
    """How work is recorded: by CUDA, or by a test."""

    def warm_up(self, work: Callable[[], Tensors]) -> Tensors:
        """Run work as it will be recorded, without recording it."""
        ...

    def record(self, work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
        """Record work without running it. Returns where its results will be, and a function that runs it."""
        ...


class CudaRecorder:
    """Records CUDA graphs.

    Args:
        device: The GPU.
        generators: Random generators on it that the work draws from, beside torch's own. A replay draws from their present
            state.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator] = ()) -> None:
        self.device, self.generators = device, generators

    def warm_up(self, work: Callable[[], Tensors]) -> Tensors:  # noqa: D102
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            results = work()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        return results

    def record(self, work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:  # noqa: D102
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        # Threads that load images may allocate meanwhile.
        with torch.cuda.device(self.device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            results = work()
        return results, graph.replay


class Recording:
    """The recording of one key.

    Args:
        recorder: Records the step.
        step: What is recorded.
        inputs: Tensors of the shapes that all later inputs have.
    """

    def __init__(self, recorder: Recorder, step: Step, inputs: Tensors) -> None:
        self.inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        with recordable():
            self.results, self.replay = recorder.record(lambda: step(self.inputs))

    def __call__(self, inputs: Tensors) -> dict[str, Tensor]:
        """Run the step with other inputs."""
        for name, tensor in inputs.items():
            self.inputs[name].copy_(tensor, non_blocking=True)
        self.replay()
        return {name: tensor.clone() for name, tensor in self.results.items()}  # the next replay overwrites them


class CapturedSteps:
    """Runs steps: the first calls of a key as they are, later calls from a recording. Every call has its effect once.

    Args:
        recorder: Records a step.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.calls: dict[Hashable, int] = {}
        self.recordings: dict[Hashable, Recording] = {}

    def __call__(self, key: Hashable, step: Step, inputs: Tensors) -> dict[str, Tensor]:
        """Run a step.

        Args:
            key: What the step depends on beside tensors. The shapes of the inputs belong to it without being named.
            step: The step.
            inputs: Its inputs.

        Returns:
            What the step returned.

        Raises:
            DomtransError: If the step cannot be recorded.
        """
        key = (key, *((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items()))
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.calls[key] <= WARM_UP_CALLS:
            return dict(self.recorder.warm_up(lambda: step(inputs)))
        if key not in self.recordings:
            self.recordings[key] = Recording(self.recorder, step, inputs)
        return self.recordings[key](inputs)

    def forget(self) -> None:
        """Forget all recordings, because tensors that they use were replaced."""
        self.calls.clear()
        self.recordings.clear()


@contextmanager
def recordable() -> Iterator[None]:
    """A block that records; raises DomtransError for an operation that cannot be recorded."""
    try:
        yield
    except RuntimeError as error:
        if "captur" not in str(error):
            raise
        reason = reason_of(error)
        raise DomtransError(
            f"train.capture=true: a part of this recipe makes the host wait for the GPU in a step ({reason}); set it to false"
        ) from error
