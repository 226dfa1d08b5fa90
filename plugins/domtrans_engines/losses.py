"""Losses of the parameters of generated drawings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans import DomtransError, Loss, Outputs


class ParameterIdentity(Loss):
    """L_TID of parameters: the cross-entropy of g(f(t))'s logits with the parameters that t was drawn with.

    The sum over the slots; a slot that does not show in t is left out. It reads the parameters of target drawings, which the
    engine knows, and nothing about the source.
    """

    reads = frozenset({"target_parameters", "target_fake_parameters"})

    def forward(self, outputs: Outputs) -> Tensor:
        """The mean over the batch."""
        assert outputs.target_parameters is not None and outputs.target_fake_parameters is not None
        pairs = zip(outputs.target_fake_parameters, outputs.target_parameters.unbind(1), strict=True)
        terms = [F.cross_entropy(logits, index, ignore_index=-1, reduction="sum") for logits, index in pairs]
        return torch.stack(terms).sum() / len(outputs.target_parameters)


class ParameterBalance(Loss):
    """The distribution of the parameters of G(x_s) should be that of G(x_t).

    The sum over the slots of KL(mean over G(x_t) || mean over G(x_s)) of the probabilities in a batch. It keeps g from drawing
    the same clothes for everybody, where f does not say which.
    """

    reads = frozenset({"source_fake_parameters", "target_fake_parameters"})

    def forward(self, outputs: Outputs) -> Tensor:
        """The divergence in nats; DomtransError for a batch of one domain."""
        if outputs.source_fake_parameters is None or outputs.target_fake_parameters is None:
            raise DomtransError("the loss 'parameter-balance' compares both domains in one batch; set train.updates=joint")
        means = zip(mean_shares(outputs.target_fake_parameters), mean_shares(outputs.source_fake_parameters), strict=True)
        return torch.stack([(wanted.detach() * (wanted.detach() / drawn).log()).sum() for wanted, drawn in means]).sum()


def mean_shares(slots: Sequence[Tensor]) -> list[Tensor]:
    """The mean probability of every value of every slot, never 0."""
    return [logits.softmax(1).mean(0).clamp_min(1e-6) for logits in slots]
