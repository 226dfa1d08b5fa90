"""Optimizers with their schedules, and the exponential moving average of g."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.compute.distributed import SINGLE_PROCESS, Group
from domtrans.recipe.schema import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of a step, after warm-up and decay; a function of the step alone."""
    progress = step / steps
    factor = 1.0
    if config.schedule == "linear":
        factor = 1.0 - (1.0 - config.final_lr) * progress
    elif config.schedule == "cosine":
        factor = config.final_lr + (1.0 - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
    if config.warmup and progress < config.warmup:
        factor *= (step + 1) / (config.warmup * steps + 1)
    return config.lr * factor


class Optimizer:
    """A torch optimizer as a recipe describes it. Its state is plain named tensors.

    Args:
        network: The network whose parameters it updates.
        config: Algorithm, learning rate and schedule.
        steps: Steps of the whole run, for the schedule.
        group: The processes whose gradients are averaged before every step.
    """

    def __init__(self, network: nn.Module, config: OptimizerConfig, steps: int, group: Group = SINGLE_PROCESS) -> None:
        self.config, self.steps, self.group = config, steps, group
        self.parameters = list(network.parameters())
        options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
        if config.name == "sgd":
            self.torch: torch.optim.Optimizer = torch.optim.SGD(self.parameters, momentum=config.betas[0], **options)
        else:
            kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
            self.torch = kind(self.parameters, betas=config.betas, **options)

    def set_learning_rate(self, step: int, factor: float = 1.0) -> None:
        """Set the learning rate of this step, times a factor."""
        for group in self.torch.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps) * factor

    def zero_grad(self) -> None:
        """Remove the last gradient."""
        self.torch.zero_grad(set_to_none=True)

    def step(self, skip: Tensor | None = None) -> None:
        """Update the parameters by their gradient, the mean over all processes.

        Args:
            skip: bool [], on the device of the parameters: True leaves parameters and moments as they are. The host does not
                wait for its value.
        """
        if self.group.size > 1:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            torch._foreach_copy_(gradients, self.group.mean(gradients))
        if skip is not None and self.config.name == "sgd":  # a skipped first step would leave these uninitialised
            for parameter in self.parameters:
                self.torch.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
        # The fused kernels read this flag on the device. torch's GradScaler sets it to skip steps in the same way.
        self.torch.found_inf = None if skip is None else skip.float()  # type: ignore[attr-defined]
        self.torch.step()

    def state(self) -> dict[str, Tensor]:
        """``{"3.exp_avg": tensor, ...}``: the moments of every parameter, by its position."""
        return {
            f"{position}.{name}": torch.as_tensor(value)
            for position, parameter in enumerate(self.parameters)
            for name, value in self.torch.state.get(parameter, {}).items()
            if value is not None
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load a saved state. Raises ValueError if it belongs to other parameters or to another optimizer."""
        is_scalar = (
            {"momentum_buffer": False} if self.config.name == "sgd" else {"exp_avg": False, "exp_avg_sq": False, "step": True}
        )
        loaded: dict[str, set[str]] = {}
        self.torch.state.clear()
        for key, value in state.items():
            position, _, name = key.partition(".")
            parameter = (
                self.parameters[int(position)] if position.isdecimal() and int(position) < len(self.parameters) else None
            )
            fits = parameter is not None and name in is_scalar and value.is_floating_point()
            if parameter is None or not fits or value.shape != (() if is_scalar[name] else parameter.shape):
                raise ValueError(f"optimizer state {key[:200]} of shape {list(value.shape)} belongs to no parameter")
            loaded.setdefault(position, set()).add(name)
            # In the memory layout of the parameter, which fused kernels need.
            empty = torch.empty_like(parameter if value.ndim else value, dtype=value.dtype, device=parameter.device)
            self.torch.state[parameter][name] = empty.copy_(value)
        for position, names in loaded.items():
            if names != is_scalar.keys():
                raise ValueError(f"the optimizer state of parameter {position} lacks {sorted(is_scalar.keys() - names)[0]}")


class ExponentialMovingAverage:
    """Exponential moving average (EMA) of a network's parameters. Buffers, e.g. batch-norm statistics, are copied.

    Args:
        network: The network.
        decay: Weight of the old average in an update, 0 to 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network, faster in the first steps, so that the initial weights fade."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.module.parameters()), list(network.parameters()), 1.0 - decay)
        for own, current in zip(self.module.buffers(), network.buffers(), strict=True):
            own.copy_(current)
