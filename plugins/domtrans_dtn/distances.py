"""Distances d between f(x) and f(G(x)), and d_2 between a target image and its own transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from domtrans import Distance, DistanceOption, DomtransError

Classify = Callable[[Tensor], Tensor]
Positive = Annotated[float, Field(gt=0)]


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference over all elements (the paper's d and d_2)."""
    return F.mse_loss(b, a)


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference over all elements: where it is not known what stands in a place, sharper than 'mse'."""
    return F.l1_loss(b, a)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos of the angle between the flattened vectors of each pair, averaged over the batch."""
    return (1.0 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)).mean()


def cross_entropy(
    a: Tensor, b: Tensor, classify: Classify | None = None, *, temperature: Positive = 1.0, sharpen: Positive = 1.0
) -> Tensor:
    """KL(p_a || p_b) between the class predictions of f's own head for two batches of features [B, F].

    Cross-entropy less the entropy of p_a, which g cannot change: same gradient, and zero where both agree. No label and
    no evaluator takes part: what f says of x is compared with what f says of G(x). ``temperature``: divides both logits.
    ``sharpen``: multiplies those of x once more; above 1, g is to draw what f takes x for, not f's doubt.
    Raises DomtransError where there is no head: on images, or for an f without one.
    """
    if classify is None:
        raise DomtransError("the distance 'cross-entropy' compares what f's head says of features; it cannot compare images")
    wanted = (sharpen * classify(a) / temperature).log_softmax(1).detach()
    found = (classify(b) / temperature).log_softmax(1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def contrastive(a: Tensor, b: Tensor, *, temperature: Positive = 0.1) -> Tensor:
    """How much worse b_i tells a_i from the rest of its batch than a_i itself does: differences count, a common gap does not.

    KL(p || q), averaged over the batch: q_ij is the softmax over j of cos(b_i, a_j) / temperature, p_ij that of
    cos(a_i, a_j) / temperature. Where f sees every G(x) far from every x, 'mse' and 'cosine' ask to close a gap that D
    forbids to close; here f(G(x_i)) needs only to be nearer to f(x_i) than to the others of the batch. For a small
    temperature p is one-hot, and this is InfoNCE (van den Oord, Li, Vinyals: Representation Learning with Contrastive
    Predictive Coding, 2018, equation 4); above, two images that f sees alike do not repel each other. Images are
    compared as flattened vectors. A batch of one tells nothing apart and gives 0; larger batches ask for more.
    ``temperature``: divides the cosines.
    """
    wanted, found = (F.normalize(batch.flatten(1), dim=1) for batch in (a.detach(), b))
    own, other = ((side @ wanted.T / temperature).log_softmax(1) for side in (wanted, found))
    return F.kl_div(other, own, reduction="batchmean", log_target=True)


class Weighted:
    """A sum of other distances, each with its weight.

    ``terms``: the distances. ``weights``: one number a term.
    """

    def __init__(
        self,
        *,
        terms: Annotated[list[DistanceOption], Field(min_length=1)] = ["mse", "cosine"],  # noqa: B006 - read as a default
        weights: list[float] = [1.0, 1.0],  # noqa: B006
    ) -> None:
        if len(terms) != len(weights):
            raise DomtransError(
                f"the distance 'weighted' has {len(terms)} terms but {len(weights)} weights; give one weight a term"
            )
        self.terms: list[Distance] = terms
        self.weights = weights

    def __call__(self, a: Tensor, b: Tensor, classify: Classify | None = None) -> Tensor:
        """The weighted sum over the terms."""
        total = a.new_zeros(())
        for weight, distance in zip(self.weights, self.terms, strict=True):
            total = total + weight * distance(a, b, classify)
        return total
