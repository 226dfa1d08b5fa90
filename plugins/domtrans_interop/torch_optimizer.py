"""The optimizers of ``torch.optim``, by the names of their classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from domtrans import DomtransError, did_you_mean, reason_of

UNSUITABLE = {"LBFGS", "Rprop", "SparseAdam"}
"""LBFGS computes the loss several times in a step, Rprop ignores the schedule, SparseAdam needs sparse gradients."""


def torch_optimizer(
    parameters: Iterable[nn.Parameter],
    lr: float | Tensor,
    capturable: bool = False,
    *,
    algorithm: str,
    arguments: dict[str, Any] | None = None,
) -> torch.optim.Optimizer:
    """An optimizer of torch.optim, such as RAdam, NAdam, RMSprop or Adafactor.

    Use adam, adamw and sgd by their own names: those are fused. ``train.capture`` works with the algorithms that have an
    argument ``capturable``. On a GPU, Adafactor makes every step wait for it; so does ASGD without ``capturable=true``, and any
    algorithm with ``train.discriminator_floor``.

    Args:
        parameters: The parameters.
        lr: The learning rate.
        capturable: Whether steps are recorded as CUDA graphs.
        algorithm: Name of a class in ``torch.optim``.
        arguments: Arguments of its constructor, by name.
    """
    known = [name for name, value in vars(torch.optim).items() if _is_optimizer(value) and name not in UNSUITABLE]
    if algorithm not in known:
        hint = did_you_mean(algorithm, known, "algorithms")
        raise DomtransError(f"torch.optim has no optimizer '{algorithm}' that works here{hint}")
    kind = getattr(torch.optim, algorithm)
    if capturable:
        if "capturable" not in inspect.signature(kind).parameters:
            raise DomtransError(f"train.capture=true cannot record the steps of torch's {algorithm}; set it to false")
        arguments = (arguments or {}) | {"capturable": True}
    parameters, fault = list(parameters), "be built from"
    try:
        optimizer: torch.optim.Optimizer = kind(parameters, lr=lr, **(arguments or {}))
        fault = "take a step with"
        if not capturable:
            _step_of(kind([nn.Parameter(torch.zeros_like(parameters[0]))], lr=lr, **(arguments or {})))
    except Exception as error:  # noqa: BLE001 - an optimizer raises what it likes
        reason = reason_of(error)
        raise DomtransError(f"torch's {algorithm} cannot {fault} these arguments: {reason}") from None
    return optimizer


def _step_of(trial: torch.optim.Optimizer) -> None:
    """A step with a gradient of 0, because many wrong arguments are found by the first step only."""
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trial.step()


def _is_optimizer(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, torch.optim.Optimizer) and thing is not torch.optim.Optimizer
