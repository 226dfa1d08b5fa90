"""Distances between two sets of images, computed from the features of any network."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from domtrans.compute.seeding import seeded
from domtrans.data.batches import evenly

KID_SUBSET_SIZE, KID_SUBSETS = 500, 50
"""Images per subset, at most, and number of subsets."""
MAX_PAIRWISE_IMAGES = 2000
"""Images whose pairwise distances are computed, at most, evenly spread over the set."""


class Precomputed(nn.Identity):
    """The feature network for torchmetrics where the features are already computed."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """FID, by torchmetrics: the Frechet distance of two normal distributions (Heusel et al., 2017).

    Args:
        generated: Features [N, F].
        real: Features [M, F].

    Returns:
        The distance, 0 or more.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=Precomputed(generated.shape[1]))
    metric.update(generated.double(), real=False)
    metric.update(real.double(), real=True)
    return max(0.0, float(metric.compute()))  # rounding can make it negative


def kernel_distance(generated: Tensor, real: Tensor) -> float:
    """KID, by torchmetrics: the unbiased squared MMD with a cubic kernel (Binkowski et al., 2018).

    It is the mean over 50 subsets of at most 500 images, the same subsets every time.

    Args:
        generated: Features [N, F].
        real: Features [M, F].

    Returns:
        The distance; it can be slightly below 0.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the memory that the features take
        metric = KernelInceptionDistance(
            feature=Precomputed(generated.shape[1]),
            subsets=KID_SUBSETS,
            subset_size=min(KID_SUBSET_SIZE, len(generated), len(real)),
        )
    metric.update(generated, real=False)
    metric.update(real, real=True)
    with seeded(0):
        return float(metric.compute()[0])


def spread(features: Tensor) -> float:
    """The mean distance between two rows of features [N, F], over at most 2,000 rows; 0 for one row."""
    sample = features[evenly(len(features), MAX_PAIRWISE_IMAGES)]
    return float(torch.pdist(sample).double().mean()) if len(sample) > 1 else 0.0


def precision_and_recall(generated: Tensor, real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al., 2019, equations 1 to 3), over at most 2,000 rows of each set.

    Args:
        generated: Features [N, F].
        real: Features [M, F].
        neighbours: An image covers the ball around it that reaches to its k-th nearest neighbour in its own set.

    Returns:
        The share of generated images that a real one covers, and the share of real images that a generated one covers.
    """
    generated, real = (each[evenly(len(each), MAX_PAIRWISE_IMAGES)] for each in (generated, real))

    def covered(points: Tensor, centres: Tensor) -> float:
        own = torch.cdist(centres, centres)
        radius = own.kthvalue(min(neighbours + 1, len(centres)), 1).values  # the nearest is the centre itself
        return float((torch.cdist(points, centres) <= radius).any(1).double().mean())

    return covered(generated, real), covered(real, generated)
