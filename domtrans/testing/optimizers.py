"""Checks of optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from domtrans.recipe.schema import OptimizerConfig
from domtrans.testing.contracts import Subject, examine, seeded
from domtrans.training.optim import Optimizer
from domtrans.training.optimizer_state import parameters_of

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

RATE = 1e-3
STEPS = 20


def check_optimizer(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check an optimizer against its contracts, on a small network.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the optimizer. ``lr``, 1e-3 by default, is an argument of the engine.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("optimizer", where, name, options, ("lr",))
    config = OptimizerConfig(name=subject.part.name, lr=subject.arguments.get("lr", RATE), options=subject.part.options)
    still, first, second = (Learner(subject, config) for _ in range(3))
    given, updated = list(still.network.parameters()), parameters_of(still.optimizer.torch)
    complete = len(given) == len(updated) and {*map(id, given)} == {*map(id, updated)}
    subject.require(complete, "optimizer-steps", f"it updates {len(updated)} of {len(given)} parameters")

    before = still.weights()
    still.learn([0], rate=0.0)
    subject.require(equal(before, still.weights()), "optimizer-steps", "a step with a learning rate of 0 changes parameters")

    begin = first.loss()
    first.learn(range(STEPS))
    second.learn(range(STEPS))
    subject.require(equal(first.weights(), second.weights()), "optimizer-deterministic", "two runs give different parameters")
    end = first.loss()
    subject.require(end < begin, "optimizer-descends", f"after {STEPS} steps the loss is {end:.4g}, and was {begin:.4g}")

    resumed = Learner(subject, config)
    resumed.network.load_state_dict(first.network.state_dict())
    with subject.works("optimizer-state", "its state is saved and loaded"):
        resumed.optimizer.load_state({key: value.clone() for key, value in first.optimizer.state().items()})
    for learner in (first, resumed):
        learner.learn(range(STEPS, 2 * STEPS))
    same = equal(first.weights(), resumed.weights())
    subject.require(same, "optimizer-state", "after its state is saved and loaded, it takes other steps")


class Learner:
    """A small network in the memory layout of training, which learns to give a fixed output."""

    def __init__(self, subject: Subject, config: OptimizerConfig) -> None:
        self.subject = subject
        self.network = seeded(0, lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 2)))
        self.network.to(memory_format=torch.channels_last)
        with subject.works("optimizer-steps", "it is built"):
            self.optimizer = Optimizer(subject.registry, self.network, config, 2 * STEPS)

    def loss(self, batch: int = 0) -> float:
        """The loss of a batch."""
        with torch.no_grad():
            return float(self._loss(batch))

    def learn(self, batches: Iterable[int], rate: float = 1.0) -> None:
        """Take a step for each batch, with a factor on the learning rate."""
        for batch in batches:
            self.optimizer.zero_grad()
            self.optimizer.backward(self._loss(batch))
            self.optimizer.set_learning_rate(0, rate)
            with self.subject.works("optimizer-steps", "it takes a step"):
                self.optimizer.step()

    def weights(self) -> list[torch.Tensor]:
        """A copy of the parameters."""
        return [parameter.detach().clone() for parameter in self.network.parameters()]

    def _loss(self, batch: int) -> torch.Tensor:
        images = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(batch))
        outputs: torch.Tensor = self.network(images)
        return (outputs - 1).square().mean()


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    """Whether all tensors are equal."""
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))
