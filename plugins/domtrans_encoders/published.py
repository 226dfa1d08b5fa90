"""Weights as their authors published them, into a network built here: all of them, or one sentence that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import DomtransError


def file_of(path: str | None, encoder: str, file: str) -> Path:
    """The file that an encoder's option ``path`` names; DomtransError, saying which file it wants, where it names none."""
    if path is None:
        raise DomtransError(
            f"the encoder '{encoder}' begins from published weights: give {file} with encoder.path=FILE "
            "(inside another encoder, e.g. encoder.backbone.path=FILE), "
            "or weights saved by domtrans with encoder.weights=FILE"
        )
    return Path(path)


def load_exactly(network: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load weights of just the network's names and shapes; DomtransError, saying ``what`` it is, for the first that differs."""
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in wanted or name not in weights:
            problem = f"{name[:200]} is {'missing from' if name in wanted else 'not expected in'} the file"
        elif weights[name].shape != wanted[name].shape:
            problem = f"{name[:200]} has the shape {list(weights[name].shape)} instead of {list(wanted[name].shape)}"
        else:
            continue
        raise DomtransError(f"{path} does not fit {what}: {problem}")
    network.load_state_dict(dict(weights))


class PReLU(nn.PReLU):
    """torch's, as (1 - w) max(0, x) + w x: on a CPU torch takes five times as long for the gradient of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] to the same."""
        weight = self.weight.view(-1, *[1] * (x.ndim - 2))
        return torch.addcmul(weight * x, F.relu(x), 1 - weight)
