"""Parts with a state that follows D: losses of D, and an augmentation of D's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.compute.distributed import Group
from domtrans.interfaces import AdaptiveAugmentation, Outputs
from domtrans.training.experiment import Experiment
from domtrans.training.losses import WeightedLoss

LOGITS = ("source_fake_logits", "target_fake_logits", "target_logits")


class Observers:
    """The losses and the view of D, which observe its logits, with their buffers.

    Args:
        experiment: The losses and the view.
        device: Where to compute.
        group: The processes that share a batch.
    """

    def __init__(self, experiment: Experiment, device: torch.device, group: Group) -> None:
        view = experiment.discriminator_view
        self.view = view.to(device) if isinstance(view, AdaptiveAugmentation) else None
        self.group = group
        losses: dict[str, nn.Module] = {
            f"discriminator_losses.{item.name}": item.loss for item in experiment.discriminator_losses
        }
        self.parts = losses | ({"discriminator_view": self.view} if self.view else {})

    @torch.no_grad()
    def observe(self, losses: Sequence[WeightedLoss], batch: Sequence[Outputs]) -> dict[str, Tensor]:
        """Show the logits of a batch to the losses that count now, and to the view. Returns the view's scalars for the log.

        Args:
            losses: Losses of D.
            batch: What ``only_logits`` keeps of each micro-batch.
        """
        logits = {name: [each for part in batch if (each := getattr(part, name)) is not None] for name in LOGITS}
        joined: dict[str, Any] = {name: torch.cat(parts) for name, parts in logits.items() if parts}
        outputs = Outputs(**joined)
        for item in losses:
            item.loss.observe(outputs)
        scalars = self.view.observe(outputs) if self.view else {}
        if self.group.size > 1:
            shared = [buffer for buffer in self.state().values() if buffer.is_floating_point()]
            for buffer, mean in zip(shared, self.group.mean(shared), strict=True):
                buffer.copy_(mean)
        return {f"discriminator_view.{name}": value.clone() for name, value in scalars.items()}

    def state(self) -> dict[str, Tensor]:
        """The buffers by name, e.g. "discriminator_losses.lecam.means"; not those of which a module says that it keeps none."""
        return {
            f"{path}.{name}": buffer
            for path, part in self.parts.items()
            for name, buffer in part.named_buffers()
            if name in part.state_dict()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the buffers from a training state. One that is not in it, as in a state of version 0.1, stays as it is."""
        for name, buffer in self.state().items():
            if name in state:
                buffer.copy_(state[name])


def only_logits(outputs: Outputs) -> Outputs:
    """D's logits, copied without their graph, and nothing else."""
    present = {name: logits for name in LOGITS if (logits := getattr(outputs, name)) is not None}
    copied: dict[str, Any] = {name: logits.detach().clone() for name, logits in present.items()}
    return Outputs(**copied)
