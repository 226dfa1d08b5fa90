"""Distances: d between f(x) and f(G(x)), and d_2 between a target image and its own transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor

from domtrans import Distance, DistanceOption, DomtransError

Classify = Callable[[Tensor], Tensor]


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference over all elements (the paper's d and d_2)."""
    return F.mse_loss(b, a)


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference over all elements; gives sharper images than 'mse' where positions are uncertain."""
    return F.l1_loss(b, a)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine similarity of each pair, flattened to vectors, averaged over the batch."""
    return (1.0 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)).mean()


def cross_entropy(
    a: Tensor, b: Tensor, classify: Classify | None = None, *, temperature: PositiveFloat = 1.0, sharpen: PositiveFloat = 1.0
) -> Tensor:
    """KL(p_a || p_b) between the predictions of f's own head for two batches of features [B, F]; of several heads, the sum.

    This is the cross-entropy minus the entropy of p_a, which g cannot change. It has the same gradient and is 0 where
    both agree. It uses no labels and no evaluator: it compares f's prediction for x with f's prediction for G(x).

    Args:
        temperature: Divides the logits of both.
        sharpen: Multiplies the logits of x. Above 1, g draws the class that f predicts rather than f's uncertainty.

    Raises:
        DomtransError: For images, or for an f without a head.
    """
    if classify is None:
        raise DomtransError("the distance 'cross-entropy' compares the predictions of f's head and cannot compare images")
    a_logits, b_logits = sharpen * classify(a) / temperature, classify(b) / temperature
    sizes = getattr(classify, "head_sizes", a_logits.shape[1:])  # a plain function is one head
    terms = [
        F.kl_div(q.log_softmax(1), p.log_softmax(1).detach(), reduction="batchmean", log_target=True)
        for p, q in zip(a_logits.split(list(sizes), 1), b_logits.split(list(sizes), 1), strict=True)
    ]
    return torch.stack(terms).sum()


def contrastive(a: Tensor, b: Tensor, *, temperature: PositiveFloat = 0.1) -> Tensor:
    """How much worse b_i identifies a_i in the batch than a_i itself does; an offset that all b share adds little.

    KL(p || q), averaged over the batch: q_ij is the softmax over j of cos(b_i, a_j) / temperature, and p_ij that of
    cos(a_i, a_j) / temperature. Images are compared as flattened vectors.

    Where f maps all G(x) far from all x, 'mse' and 'cosine' try to close a gap that D keeps open. Here f(G(x_i)) only
    needs to be closer to f(x_i) than to the other images of the batch. For a small temperature p is one-hot and this is
    InfoNCE (van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding, 2018, equation 4).
    For a larger one, two images with similar features do not repel each other. A batch of one image gives 0; a larger
    batch is a harder task.

    Args:
        temperature: Divides the cosines.
    """
    a_directions, b_directions = (F.normalize(batch.flatten(1), dim=1) for batch in (a.detach(), b))
    log_p, log_q = ((rows @ a_directions.T / temperature).log_softmax(1) for rows in (a_directions, b_directions))
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


class Weighted:
    """A weighted sum of other distances.

    Args:
        terms: The distances.
        weights: One weight per term.

    Raises:
        DomtransError: If the numbers of terms and weights differ.
    """

    def __init__(
        self,
        *,
        terms: Annotated[list[DistanceOption], Field(min_length=1)] = ["mse", "cosine"],  # noqa: B006 - read as a default
        weights: list[float] = [1.0, 1.0],  # noqa: B006
    ) -> None:
        if len(terms) != len(weights):
            raise DomtransError(
                f"the distance 'weighted' has {len(terms)} terms but {len(weights)} weights; give one weight per term"
            )
        self.terms: list[Distance] = terms
        self.weights = weights

    def __call__(self, a: Tensor, b: Tensor, classify: Classify | None = None) -> Tensor:
        """The weighted sum over the terms."""
        total = a.new_zeros(())
        for weight, distance in zip(self.weights, self.terms, strict=True):
            total = total + weight * distance(a, b, classify)
        return total
