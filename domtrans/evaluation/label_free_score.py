"""A score that needs no labels and no test images, by which training keeps its best model.

It is a product, because each factor alone prefers bad models: agreement, the content that f still reads in G(x), and realism,
how close G(x) is to target images. In a run on digits the model of the highest agreement was an early one, of which the
evaluator read 45 % correctly. The product prefers the last model (95 %).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.data.image_set import ImageSet, to_channels, to_float
from domtrans.model.transfer import Transfer

SCORE = "validation.score"
"""Key of the score in the log."""
SCORES = (SCORE, "validation.agreement", "validation.realism")
"""The keys of the score and of its factors."""
MAX_IMAGES = 1000
"""Training images of each domain, at most."""
MIN_DISTANCE = 0.05
"""Least distance between the domains, as a share of the mean distance between two target images. Without it, a small change
of the images would decide about the realism where the domains look alike from the start."""


class LabelFreeScore:
    """Some training images of both domains, and the distance between them before any transfer.

    Args:
        source: Source training images.
        target: Target training images.
    """

    def __init__(self, source: ImageSet, target: ImageSet) -> None:
        self.source = source.some(MAX_IMAGES)
        self.target_pixels = to_float(target.some(MAX_IMAGES).images).flatten(1)
        source_pixels = to_channels(to_float(self.source.images), target.channels).flatten(1)
        least = MIN_DISTANCE * float(torch.cdist(self.target_pixels, self.target_pixels).double().mean())
        self.initial_distance = max(energy_distance(source_pixels, self.target_pixels), least, 1e-6)

    def score(self, transfer: Transfer) -> dict[str, float]:
        """Score a model by its images of the source.

        Returns:
            Agreement and realism, each between 0 and 1, and their product, by their keys in the log.
        """
        generated = ImageSet(transfer.apply_to(self.source))
        agreement = max(0.0, prediction_agreement(transfer, self.source, generated))
        pixels = to_float(generated.images).to(self.target_pixels.device).flatten(1)
        distance = energy_distance(pixels, self.target_pixels)
        realism = 1.0 - min(1.0, (distance / self.initial_distance) ** 0.5)
        return {"validation.agreement": agreement, "validation.realism": realism, SCORE: agreement * realism}


@torch.no_grad()
def prediction_agreement(transfer: Transfer, images: ImageSet, generated: ImageSet) -> float:
    """The share of images for which f's head predicts the same for x and G(x); without a head, their mean cosine."""
    f = transfer.encoder
    before, after = f.encode(images), f.encode(generated)
    if f.has_head():
        return float((f.classify(before).argmax(1) == f.classify(after).argmax(1)).double().mean())
    return float(F.cosine_similarity(before.flatten(1), after.flatten(1)).double().mean())


def energy_distance(a: Tensor, b: Tensor) -> float:
    """The energy distance (Szekely and Rizzo, 2013) of two samples [N, D] and [M, D]; 0 for equal distributions."""
    between = torch.cdist(a, b).double().mean()
    within = [torch.cdist(x, x).double().sum() / max(len(x) * (len(x) - 1), 1) for x in (a, b)]
    return max(0.0, float(2 * between - within[0] - within[1]))
