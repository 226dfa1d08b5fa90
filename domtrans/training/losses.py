"""What a player minimises: the losses of a recipe, each with its weight and its share of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.interfaces import OUTPUT_FIELDS, Loss, Outputs
from domtrans.model.build import expect
from domtrans.recipe.schema import Term
from domtrans.registry.registry import Registry


@dataclass(frozen=True)
class WeightedLoss:
    """A loss built from a recipe's term, under the name it is logged by."""

    name: str
    loss: Loss
    term: Term


def build_losses(registry: Registry, terms: dict[str, Term]) -> tuple[WeightedLoss, ...]:
    """The losses of a recipe, checked to read only what there is."""
    losses = []
    for name, term in terms.items():
        loss = registry.build("loss", term)
        expect(loss, Loss, "loss", term)
        unknown = frozenset(loss.reads) - OUTPUT_FIELDS
        if unknown:
            raise DomtransError(f"the loss '{term.name}' reads {sorted(unknown)}, which Outputs does not have")
        losses.append(WeightedLoss(name, loss, term))
    return tuple(losses)


def active(losses: Iterable[WeightedLoss], progress: float) -> list[WeightedLoss]:
    """The losses that count at this share of the run."""
    return [loss for loss in losses if loss.term.active(progress)]


def weighted_sum(terms: Iterable[WeightedLoss], seen: Outputs, player: str) -> tuple[Tensor | None, dict[str, Tensor]]:
    """What a player minimises, and its terms unweighted, for the log. A term whose fields are not there is left out."""
    total, losses = None, {}
    for item in terms:
        if all(getattr(seen, name) is None for name in item.loss.reads - {"classify"}):
            continue  # a term of the other domain, in separate updates
        value = item.loss(seen if "source_labels" in item.loss.reads else replace(seen, source_labels=None))
        total = item.term.weight * value + (0 if total is None else total)
        losses[f"{player}.{item.name}"] = value.detach()
    return total, losses


def means(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each figure over the parts of a batch."""
    return parts[0] if len(parts) == 1 else {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
