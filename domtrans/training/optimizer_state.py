"""The state of any torch optimizer as plain named tensors, which a checkpoint holds.

``{"3.exp_avg": tensor, ..., "group.0.k": number}``: what the optimizer keeps for every parameter, by the parameter's position,
and the numbers of every parameter group that its steps have changed. The learning rate is not part of it, because the schedule
sets it before every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from domtrans.errors import DomtransError

NOT_STATE = ("params", "lr")
Numbers = Mapping[str, int | float]


def state_of(optimizer: torch.optim.Optimizer, initial: Numbers) -> dict[str, Tensor]:
    """The state of an optimizer.

    Args:
        optimizer: The optimizer.
        initial: The numbers of its groups before its first step.

    Raises:
        DomtransError: If it keeps something that is neither a tensor nor a number.
    """
    moments = {
        f"{position}.{name}": _as_tensor(optimizer, name, value)
        for position, parameter in enumerate(parameters_of(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }
    changed = {key: value for key, value in group_numbers(optimizer).items() if initial.get(key) != value}
    return moments | {key: _as_tensor(optimizer, key, value) for key, value in changed.items()}


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor], fresh: torch.optim.Optimizer) -> None:
    """Replace the state of an optimizer.

    Args:
        optimizer: The optimizer.
        state: What ``state_of`` returned.
        fresh: The same optimizer of copies of the parameters, after a step. What it keeps has the types, devices and memory
            layouts that the optimizer needs.

    Raises:
        ValueError: If the state belongs to other parameters or to another optimizer.
    """
    optimizer.state.clear()
    examples = state_of(fresh, {})
    keys = [key for key in examples if not key.startswith("group.")]
    loaded: set[str] = set()
    for key, value in state.items():
        example = examples.get(key)
        if example is None or example.shape != value.shape or example.is_floating_point() != value.is_floating_point():
            raise ValueError(f"optimizer state {key[:200]} of shape {list(value.shape)} belongs to no parameter")
        place, _, name = key.partition(".")
        if place == "group":
            index, _, name = name.partition(".")
            _set(optimizer.param_groups[int(index)], fresh.param_groups[int(index)], name, value)
        else:
            parameter, copy = (parameters_of(each)[int(place)] for each in (optimizer, fresh))
            _set(optimizer.state[parameter], fresh.state[copy], name, value)
            loaded.add(place)
    for key in keys:
        place, _, name = key.partition(".")
        if place in loaded and key not in state:
            raise ValueError(f"the optimizer state of parameter {place} lacks {name}")


def after_a_step(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Take a step with gradients of 0, so that the optimizer makes its state."""
    for parameter in parameters_of(optimizer):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return optimizer


def group_numbers(optimizer: torch.optim.Optimizer) -> dict[str, int | float]:
    """The numbers of every parameter group, without the learning rate: ``{"group.0.k": number}``."""
    return {
        f"group.{index}.{name}": value.item() if isinstance(value, Tensor) else value
        for index, group in enumerate(optimizer.param_groups)
        for name, value in group.items()
        if name not in NOT_STATE and (_is_number(value) or (isinstance(value, Tensor) and value.numel() == 1))
    }


def parameters_of(optimizer: torch.optim.Optimizer) -> Sequence[Tensor]:
    """The parameters of all groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _set(table: dict[str, Any], example: Mapping[str, Any], name: str, value: Tensor) -> None:
    like = example[name]
    table[name] = torch.empty_like(like).copy_(value) if isinstance(like, Tensor) else type(like)(value.item())


def _as_tensor(optimizer: torch.optim.Optimizer, name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not _is_number(value):
        raise DomtransError(
            f"the optimizer {type(optimizer).__name__} keeps '{name}', which is a {type(value).__name__}; a checkpoint holds "
            "tensors and numbers only"
        )
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
