"""The updates of a training step, replayed from CUDA graphs (``train.capture``)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from domtrans.compute.capture import CapturedSteps, CudaRecorder, Recorder, Tensors
from domtrans.errors import DomtransError
from domtrans.interfaces import Outputs

Learn = Callable[[Sequence[Outputs]], dict[str, Tensor]]
"""Micro-batches of one batch, as they were loaded, to the losses by name. Updates D, g or both."""


class CapturedUpdates:
    """Runs updates from recordings.

    Args:
        device: The GPU.
        rng: The generator that the views of every recorded update draw from.
    """

    def __init__(self, device: torch.device, rng: torch.Generator) -> None:
        self.rng = rng
        self.steps = CapturedSteps(recorder_for(device, rng))

    def reseeded(self, rng: torch.Generator) -> torch.Generator:
        """The generator of the recordings, seeded like another."""
        return self.rng.manual_seed(rng.initial_seed())

    def learn(self, key: Hashable, learn: Learn, batch: Sequence[Outputs]) -> dict[str, Tensor]:
        """Run an update.

        Args:
            key: What the update depends on beside the batch, weights, learning rates and random numbers.
            learn: The update.
            batch: Micro-batches of one batch.
        """

        def step(tensors: Tensors) -> dict[str, Tensor]:
            return learn([replace(part, **own(tensors, number)) for number, part in enumerate(batch)])

        inputs = {f"{number}.{name}": tensor for number, part in enumerate(batch) for name, tensor in fields_of(part).items()}
        return self.steps(key, step, inputs)

    def forget(self) -> None:
        """Forget all recordings, because weights or moments were replaced."""
        self.steps.forget()


def recorder_for(device: torch.device, rng: torch.Generator) -> Recorder:
    """What records on this device. Raises DomtransError for a device that cannot."""
    if device.type != "cuda":
        raise DomtransError(f"train.capture=true records CUDA graphs, and {device.type} has none; set it to false")
    return CudaRecorder(device, [rng])


def fields_of(outputs: Outputs) -> dict[str, Tensor]:
    """The tensors among the fields of a micro-batch."""
    return {name: value for name, value in vars(outputs).items() if isinstance(value, Tensor)}


def own(tensors: Tensors, number: int) -> dict[str, Any]:
    """The fields of one micro-batch."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
