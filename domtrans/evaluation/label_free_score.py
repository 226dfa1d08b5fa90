"""A score without labels and without test images, by which a training keeps its best model.

Two halves, multiplied, because either alone is fooled: content that f still sees in G(x), and looks that are the
target's. In a digits run the model of highest agreement alone was an early one that the evaluator read rightly in 45 %
of images, and the last in 95 %; the product prefers the last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.data.image_set import ImageSet, to_channels, to_float
from domtrans.model.transfer import Transfer

SCORE = "validation.score"
ALIKE = 0.05
COUNT = 1000
"""Training images of each domain that are looked at, at most."""


class Validation:
    """Some source and target training images, and how far apart their looks are before any transfer."""

    def __init__(self, source: ImageSet, target: ImageSet) -> None:
        self.source = source.some(COUNT)
        self.looks = to_float(target.some(COUNT).images).flatten(1)
        untouched = to_channels(to_float(self.source.images), target.channels).flatten(1)
        # Domains may look alike to begin with: then what differs is measured by how target images differ among themselves.
        alike = ALIKE * float(torch.cdist(self.looks, self.looks).double().mean())
        self.apart = max(distance(untouched, self.looks), alike, 1e-6)

    def score(self, transfer: Transfer) -> dict[str, float]:
        """``agreement`` and ``realism`` of G over the source images, 0 to 1 each, and their product, the ``score``."""
        made = ImageSet(transfer.apply_to(self.source))
        agreement = max(0.0, agree(transfer, self.source, made))
        off = distance(to_float(made.images).to(self.looks.device).flatten(1), self.looks)
        realism = 1.0 - min(1.0, (off / self.apart) ** 0.5)
        return {"validation.agreement": agreement, "validation.realism": realism, SCORE: agreement * realism}


@torch.no_grad()
def agree(transfer: Transfer, images: ImageSet, made: ImageSet) -> float:
    """The share of images in which f's head sees the same in x and in G(x); without a head, their mean cosine."""
    f = transfer.encoder
    before, after = f.encode(images), f.encode(made)
    if f.has_head():
        return float((f.classify(before).argmax(1) == f.classify(after).argmax(1)).double().mean())
    return float(F.cosine_similarity(before, after).double().mean())


def distance(a: Tensor, b: Tensor) -> float:
    """The energy distance between two samples [N, D] and [M, D], 0 for the same distribution (Szekely, Rizzo)."""
    between = torch.cdist(a, b).double().mean()
    within = [torch.cdist(x, x).double().sum() / max(len(x) * (len(x) - 1), 1) for x in (a, b)]
    return max(0.0, float(2 * between - within[0] - within[1]))
