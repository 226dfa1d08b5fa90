"""Optimizers with their schedules, and the exponential moving average of g."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.compute.distributed import SINGLE_PROCESS, Group
from domtrans.compute.gradient_buckets import GradientBuckets
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
        capturable: Keep the learning rate in a tensor, so that a CUDA graph reads its present value.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        steps: int,
        group: Group = SINGLE_PROCESS,
        *,
        capturable: bool = False,
    ) -> None:
        self.config, self.steps = config, steps
        self.parameters = list(network.parameters())
        self.buckets = GradientBuckets(self.parameters, group.size) if group.size > 1 else None
        lr = torch.tensor(config.lr, device=self.parameters[0].device) if capturable else config.lr
        options: dict[str, Any] = {"lr": lr, "weight_decay": config.weight_decay, "fused": True}
        if config.name == "sgd":
            self.torch: torch.optim.Optimizer = torch.optim.SGD(self.parameters, momentum=config.betas[0], **options)
        else:
            kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
            self.torch = kind(self.parameters, betas=config.betas, capturable=capturable, **options)

    def set_learning_rate(self, step: int, factor: float = 1.0) -> None:
        """Set the learning rate of this step, times a factor."""
        value = learning_rate(self.config, step, self.steps) * factor
        for group in self.torch.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    def zero_grad(self) -> None:
        """Remove the last gradient."""
        self.torch.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor, *, last: bool = True) -> None:
        """Add the gradient of a loss.

        Args:
            loss: A scalar.
            last: Whether ``step`` comes next. Several processes then begin to average gradients before all are computed.
        """
        with self.buckets.last_backward() if self.buckets and last else nullcontext():
            loss.backward()

    def step(self, skip: Tensor | None = None) -> None:
        """Update the parameters by their gradient, the mean over all processes.

        Args:
            skip: bool [], on the device of the parameters: True leaves parameters and moments as they are. The host does not
                wait for its value.
        """
        if self.buckets:
            self.buckets.average()
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
        capturable: Keep the weight of the network in a tensor, so that a CUDA graph reads its present value.
    """

    def __init__(self, network: nn.Module, decay: float, *, capturable: bool = False) -> None:
        self.decay = decay
        self.module = copy.deepcopy(network).requires_grad_(False).eval()
        device = next(network.parameters()).device
        self.weight: float | Tensor = torch.zeros((), device=device) if capturable else 0.0
        """Weight of the network in the next update."""

    def set_weight(self, step: int) -> None:
        """Set the weight of the network at a step: larger in the first steps, so that the initial weights fade."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        if isinstance(self.weight, Tensor):
            self.weight.fill_(weight)
        else:
            self.weight = weight

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network."""
        averages: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(network.parameters())
        if isinstance(self.weight, Tensor):
            for average, parameter in zip(averages, current, strict=True):
                average.lerp_(parameter, self.weight)
        else:
            torch._foreach_lerp_(averages, current, self.weight)
        for own, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
            own.copy_(buffer)
