"""A score that needs no labels and no test images, by which training keeps its best model.

It is a product of content, whether G(x) is what f predicts for x, and realism, how close G(x) is to target images. Each alone
prefers bad models: without D, G(x) may be noise in which f reads the right class.

The content is a margin, for which f predicts the classes of x and of real target images, and never reads G(x). So an image
that only f takes for the right class does not raise it. G(x) should be nearer to a real image of the class of x than to one of
another class. This needs an f with one head of classes, and target images whose distances in pixels follow their classes:
handwriting, but not coloured house numbers. Otherwise the content is the agreement of f on x and G(x).
docs/results/label-free.md compares these and other measures.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.compute.device import to_float64
from domtrans.data.image_set import ImageSet, to_channels, to_float
from domtrans.model.transfer import FrozenEncoder, Transfer

SCORE = "validation.score"
"""Key of the score in the log."""
AGREEMENT, REALISM, MARGIN = "validation.agreement", "validation.realism", "validation.margin"
SCORES = (SCORE, AGREEMENT, REALISM, MARGIN)
"""The keys of the score, and of what it is made of; the margin is logged where it means something."""
MAX_IMAGES = 1000
"""Training images of each domain, at most."""
MIN_MARGIN = 0.05
"""Least margin of real target images, as a share of the mean distance between two of them. Below it, their distances do not
follow their classes, and a margin of G(x) means nothing. It is 0.14 for handwriting and -0.03 for house numbers."""
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
        self.source, self.target = source.some(MAX_IMAGES), target.some(MAX_IMAGES)
        self.target_pixels = to_float(self.target.images).flatten(1)
        source_pixels = to_channels(to_float(self.source.images), target.channels).flatten(1)
        self.target_spread = float(to_float64(torch.cdist(self.target_pixels, self.target_pixels)).mean())
        least = MIN_DISTANCE * self.target_spread
        self.initial_distance = max(energy_distance(source_pixels, self.target_pixels), least, 1e-6)

    def score(self, transfer: Transfer) -> dict[str, float]:
        """Score a model by its images of the source.

        Returns:
            The score and its parts, by their keys in the log. All are 0 or more; 1 is good. Only a margin can be above 1.
        """
        generated = ImageSet(transfer.apply_to(self.source))
        agreement = max(0.0, prediction_agreement(transfer, self.source, generated))
        pixels = to_float(generated.images).to(self.target_pixels.device).flatten(1)
        distance = energy_distance(pixels, self.target_pixels)
        realism = 1.0 - min(1.0, (distance / self.initial_distance) ** 0.5)
        scores = {AGREEMENT: agreement, REALISM: realism} | self._margin(transfer.encoder, pixels)
        return scores | {SCORE: scores.get(MARGIN, agreement) * realism}

    @torch.no_grad()
    def _margin(self, f: FrozenEncoder, pixels: Tensor) -> dict[str, float]:
        """The mean class margin of G(x), ``pixels`` [N, D], over that of real target images; empty if it means nothing."""
        if len(f.encoder.heads) != 1:
            return {}
        real = self.target_pixels
        wanted, seen = (f.predictions(f.encode(images))[:, 0].to(real.device) for images in (self.source, self.target))
        distances = torch.cdist(real, real).fill_diagonal_(math.inf)  # an image is not its own neighbour
        of_real = float(to_float64(class_margins(distances, seen, seen)).mean())
        if of_real <= MIN_MARGIN * self.target_spread:
            return {}
        of_generated = float(to_float64(class_margins(torch.cdist(pixels, real), wanted, seen)).mean())
        return {MARGIN: max(0.0, of_generated) / of_real}


def class_margins(distances: Tensor, wanted: Tensor, seen: Tensor) -> Tensor:
    """How much nearer each image is to the nearest reference image of its class than to that of any other class.

    Args:
        distances: Distances to the reference images, [N, M].
        wanted: The class that each image should have, int64 [N].
        seen: The classes of the reference images, int64 [M].

    Returns:
        float32 [N]; 0 for an image whose class, or every other class, has no reference image.
    """
    same = wanted[:, None] == seen[None]
    nearest_same, nearest_other = (distances.masked_fill(~group, math.inf).amin(1) for group in (same, ~same))
    return (nearest_other - nearest_same).nan_to_num(0.0, 0.0, 0.0)


@torch.no_grad()
def prediction_agreement(transfer: Transfer, images: ImageSet, generated: ImageSet) -> float:
    """The share of f's predictions, one for each head, that are the same for x and G(x); without a head, their mean cosine."""
    f = transfer.encoder
    before, after = f.encode(images), f.encode(generated)
    if f.has_head():
        return float(to_float64(f.predictions(before) == f.predictions(after)).mean())
    return float(to_float64(F.cosine_similarity(before.flatten(1), after.flatten(1))).mean())


def energy_distance(a: Tensor, b: Tensor) -> float:
    """The energy distance (Szekely and Rizzo, 2013) of two samples [N, D] and [M, D]; 0 for equal distributions."""
    between = to_float64(torch.cdist(a, b)).mean()
    within = [to_float64(torch.cdist(x, x)).sum() / max(len(x) * (len(x) - 1), 1) for x in (a, b)]
    return max(0.0, float(2 * between - within[0] - within[1]))
