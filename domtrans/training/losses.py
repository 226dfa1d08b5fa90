"""What a network minimises: the losses of a recipe, each with its weight and the share of the run in which it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.interfaces import FUNCTION_FIELDS, OUTPUT_FIELDS, Loss, Outputs
from domtrans.model.build import expect
from domtrans.recipe.schema import Term
from domtrans.registry.parts import positional_parameters
from domtrans.registry.registry import Registry
from domtrans.session import Session


@dataclass(frozen=True)
class WeightedLoss:
    """A loss built from a term of the recipe. ``name`` is the key of the term, under which the loss is logged."""

    name: str
    loss: Loss
    term: Term


def build_losses(registry: Registry, terms: dict[str, Term], session: Session) -> tuple[WeightedLoss, ...]:
    """Build the losses of a recipe. Raises DomtransError for one that reads a field that Outputs does not have."""
    losses = []
    for name, term in terms.items():
        takes_session = positional_parameters(registry.get("loss", term.name).factory)
        loss = registry.build("loss", term, *([session] if takes_session else []))
        expect(loss, Loss, "loss", term)
        unknown = frozenset(loss.reads) - OUTPUT_FIELDS
        if unknown:
            raise DomtransError(f"the loss '{term.name}' reads {sorted(unknown)}, which Outputs does not have")
        losses.append(WeightedLoss(name, loss, term))
    return tuple(losses)


def active(losses: Iterable[WeightedLoss], progress: float) -> list[WeightedLoss]:
    """The losses that count at this share of the run, 0 to 1."""
    return [item for item in losses if item.term.active(progress)]


def fields_read(losses: Iterable[WeightedLoss]) -> frozenset[str]:
    """The fields of Outputs that some losses read."""
    return frozenset().union(*(item.loss.reads for item in losses))


def weighted_sum(losses: Iterable[WeightedLoss], outputs: Outputs, network: str) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The weighted sum of the losses, and each loss unweighted under ``network.name`` for the log.

    A separate update has outputs of one domain only. Losses of the other domain are left out; the sum is None if all are.
    """
    total, values = None, {}
    for item in losses:
        if all(getattr(outputs, name) is None for name in item.loss.reads - FUNCTION_FIELDS):
            continue
        # Only a loss that declares source labels or the parameters of target drawings gets them.
        withheld: dict[str, Any] = dict.fromkeys({"source_labels", "target_parameters"} - item.loss.reads)
        value = item.loss(replace(outputs, **withheld))
        total = item.term.weight * value + (0 if total is None else total)
        values[f"{network}.{item.name}"] = value.detach()
    return total, values


def mean_over_micro_batches(values: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each named scalar over the micro-batches of a batch."""
    if len(values) == 1:
        return values[0]
    return {name: torch.stack([each[name] for each in values]).mean() for name in values[0]}
