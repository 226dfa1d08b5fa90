"""Optimizers, each in torch's fused implementation: one kernel for all parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Weight of the old average in an update of a moment."""


def adam(
    parameters: Iterable[nn.Parameter],
    lr: float | Tensor,
    capturable: bool = False,
    *,
    betas: tuple[Decay, Decay] = (0.5, 0.999),
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma, Ba, 2015).

    Args:
        parameters: The parameters.
        lr: The learning rate.
        capturable: Whether steps are recorded as CUDA graphs.
        betas: Decay of the mean and of the mean square of the gradient. 0.5 is that of DCGAN (Radford et al., 2016).
        weight_decay: Factor of the L2 penalty, which is added to the gradient.
    """
    return torch.optim.Adam(parameters, lr, betas, weight_decay=weight_decay, capturable=capturable, fused=True)


def adamw(
    parameters: Iterable[nn.Parameter],
    lr: float | Tensor,
    capturable: bool = False,
    *,
    betas: tuple[Decay, Decay] = (0.5, 0.999),
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov, Hutter, 2019).

    Args:
        parameters: The parameters.
        lr: The learning rate.
        capturable: Whether steps are recorded as CUDA graphs.
        betas: Decay of the mean and of the mean square of the gradient.
        weight_decay: Share of a weight, times the learning rate, by which it becomes smaller in each step.
    """
    return torch.optim.AdamW(parameters, lr, betas, weight_decay=weight_decay, capturable=capturable, fused=True)


def sgd(
    parameters: Iterable[nn.Parameter],
    lr: float | Tensor,
    capturable: bool = False,
    *,
    momentum: Decay = 0.5,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: The parameters.
        lr: The learning rate.
        capturable: Whether steps are recorded as CUDA graphs. Those of SGD always can be.
        momentum: Weight of the sum of earlier gradients.
        weight_decay: Factor of the L2 penalty, which is added to the gradient.
    """
    return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, fused=True)
