"""What to do when training diverges: go back to an earlier checkpoint and train on with lower learning rates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.recipe.schema import TrainConfig
from domtrans.runs.folder import RunFolder


class DivergedError(Exception):
    """A loss, a gradient or a weight is not a finite number."""


class Rollbacks:
    """Chooses the checkpoint that a diverged run goes back to.

    Args:
        config: How often the run may go back, and how often it saves.
        beginning: The training state at step 0.
    """

    def __init__(self, config: TrainConfig, beginning: Mapping[str, Tensor]) -> None:
        self.config = config
        self.beginning = {name: tensor.detach().cpu().clone() for name, tensor in beginning.items()}
        self.diverged_at, self.went_back_to = 0, 0
        """The steps that the last rollback came from and went to."""

    def check_allowed(self, folder: RunFolder, step: int, done: int, name: str) -> None:
        """Raise DomtransError, with advice, if the run went back as often as it may.

        Args:
            folder: The run folder, for the message.
            step: The step at which training diverged.
            done: Rollbacks so far.
            name: What is not finite, e.g. "generator.gan".
        """
        if done < self.config.rollbacks:
            return
        tried = f" after {done} rollbacks to lower learning rates" if done else ""
        raise DomtransError(
            f"training diverged at step {step}{tried}: {name} is not a finite number; the last save in {folder.name} is "
            "intact; try a lower train.generator_optimizer.lr or train.precision=float32"
        )

    def choose(self, folder: RunFolder) -> Mapping[str, Tensor]:
        """The newest checkpoint; or, if none was reached since the last divergence, one from before the last one used.

        Only checkpoints of every ``save_every``-th step count, so that a run that was stopped goes back to the same ones.
        The beginning comes before all of them.
        """
        checkpoint = folder.load_training(self.config.save_every)
        if checkpoint is not None and int(checkpoint["step"]) < self.diverged_at:
            checkpoint = folder.load_training(self.config.save_every, before=self.went_back_to)
        return checkpoint or self.beginning

    def sentence(self, step: int, back_to: int, number: int, name: str) -> str:
        """What the user is told about rollback ``number``."""
        return (
            f"training diverged at step {step}: {name} is not a finite number; going on from step {back_to} with a quarter of "
            f"the learning rates (rollback {number} of {self.config.rollbacks}); if it helps, write lower ones into the recipe"
        )

    def state(self) -> dict[str, Tensor]:
        """The part of the training state that the next rollback depends on."""
        return {"diverged_at": torch.tensor(self.diverged_at), "went_back_to": torch.tensor(self.went_back_to)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load a saved state. Without these entries it is that of a run that never went back, for which both are 0."""
        self.diverged_at, self.went_back_to = (int(state.get(name, 0)) for name in ("diverged_at", "went_back_to"))


def logged_rollbacks(folder: RunFolder) -> dict[str, str]:
    """The notes about rollbacks in the log, by name. Going back removes lines from the log."""
    alarms = [item for record in folder.metrics() for item in record.get("alarms", {}).items()]
    return {name: sentence for name, sentence in alarms if name.startswith("rollback-")}
