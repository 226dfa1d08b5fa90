"""Optimizers with their schedules, and the exponential moving average of g."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from domtrans.compute.distributed import SINGLE_PROCESS, Group
from domtrans.compute.gradient_buckets import GradientBuckets
from domtrans.errors import DomtransError
from domtrans.recipe.schema import OptimizerConfig
from domtrans.registry.parts import positional_parameters
from domtrans.registry.registry import Registry
from domtrans.training.optimizer_state import after_a_step, group_numbers, load_state, state_of


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


def build_optimizer(
    registry: Registry, config: OptimizerConfig, parameters: Sequence[nn.Parameter], *, capturable: bool
) -> torch.optim.Optimizer:
    """The torch optimizer that a recipe names.

    Raises:
        DomtransError: If the part is not a torch optimizer, or its steps cannot be recorded and ``capturable`` asks for it.
    """
    takes_capturable = len(positional_parameters(registry.get("optimizer", config.name).factory)) == 3
    if capturable and not takes_capturable:
        raise DomtransError(
            f"train.capture=true cannot record the steps of the optimizer '{config.name}'; set it to false or choose another "
            "optimizer"
        )
    lr = torch.tensor(config.lr, device=parameters[0].device) if capturable else config.lr
    optimizer = registry.build("optimizer", config, parameters, lr, *([capturable] if takes_capturable else []))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise DomtransError(f"the optimizer '{config.name}' must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    return optimizer


class Optimizer:
    """A torch optimizer as a recipe describes it, with the schedule of its learning rate.

    Args:
        registry: The parts.
        network: The network whose parameters it updates.
        config: Algorithm with its options, learning rate and schedule.
        steps: Steps of the whole run, for the schedule.
        group: The processes whose gradients are averaged before every step.
        capturable: Keep the learning rate in a tensor, so that a CUDA graph reads its present value.

    Raises:
        DomtransError: As ``build_optimizer``.
    """

    def __init__(
        self,
        registry: Registry,
        network: nn.Module,
        config: OptimizerConfig,
        steps: int,
        group: Group = SINGLE_PROCESS,
        *,
        capturable: bool = False,
    ) -> None:
        self.config, self.steps, self.capturable = config, steps, capturable
        self.parameters = list(network.parameters())
        self.buckets = GradientBuckets(self.parameters, group.size) if group.size > 1 else None
        self._build = partial(build_optimizer, registry, config, capturable=capturable)
        self.torch = self._build(self.parameters)
        self._initial_numbers = group_numbers(self.torch)
        self.skips_on_device = getattr(self.torch, "_step_supports_amp_scaling", False)
        """Whether a step reads on the device whether it is skipped, as torch's fused kernels do for its GradScaler."""

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
            skip: bool [], on the device of the parameters: True leaves parameters and moments as they are. The host waits for
                its value only if the optimizer is not one of torch's fused ones.
        """
        if self.buckets:
            self.buckets.average()
        if self.skips_on_device:
            if skip is not None and isinstance(self.torch, torch.optim.SGD) and self.torch.defaults["momentum"]:
                for parameter in self.parameters:  # a skipped first step would leave these uninitialised
                    self.torch.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
            self.torch.found_inf = None if skip is None else skip.float()  # type: ignore[attr-defined]
        elif skip is not None and self.capturable:
            raise DomtransError(
                f"train.capture=true cannot record whether a step of the optimizer '{self.config.name}' is skipped; set "
                "train.discriminator_floor to 0, or train.capture to false"
            )
        elif skip is not None and bool(skip):
            return
        self.torch.step()

    def state(self) -> dict[str, Tensor]:
        """The moments of every parameter by its position, as in ``state_of``."""
        return state_of(self.torch, self._initial_numbers)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load a saved state. Raises ValueError if it belongs to other parameters or to another optimizer."""
        copies = [nn.Parameter(parameter.detach().clone()) for parameter in self.parameters]
        load_state(self.torch, state, after_a_step(self._build(copies)))


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
