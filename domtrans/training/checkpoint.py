"""The training state as named tensors: all that the next step depends on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from domtrans.errors import DomtransError, reason_of
from domtrans.training.trainer import Trainer


def training_state(trainer: Trainer) -> dict[str, Tensor]:
    """The state of a trainer: step, rollbacks, weights, EMA, optimizer moments, and the buffers of parts that observe D."""
    return {
        "step": torch.tensor(trainer.step_number),
        "rollbacks": torch.tensor(trainer.rollbacks),
        **_prefixed("generator.", trainer.g.state_dict()),
        **_prefixed("average.", trainer.average.module.state_dict()),
        **_prefixed("discriminator.", trainer.D.state_dict()),
        **_prefixed("generator_optimizer.", trainer.g_optimizer.state()),
        **_prefixed("discriminator_optimizer.", trainer.D_optimizer.state()),
        **trainer.observers.state(),
    }


def load_training_state(trainer: Trainer, state: Mapping[str, Tensor]) -> None:
    """Put a trainer into a saved state. Raises DomtransError if the state does not fit the networks of the recipe."""
    try:
        trainer.g.load_state_dict(with_prefix(state, "generator."))
        trainer.average.module.load_state_dict(with_prefix(state, "average."))
        trainer.D.load_state_dict(with_prefix(state, "discriminator."))
        trainer.g_optimizer.load_state(with_prefix(state, "generator_optimizer."))
        trainer.D_optimizer.load_state(with_prefix(state, "discriminator_optimizer."))
        trainer.observers.load_state(state)
        if trainer.captured:
            trainer.captured.forget()
        trainer.step_number = int(state["step"])
        trainer.rollbacks = int(state.get("rollbacks", torch.tensor(0)))
    except (RuntimeError, KeyError, ValueError) as error:
        raise DomtransError(f"the saved training state does not fit this recipe's networks: {reason_of(error)}") from None


def with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}
