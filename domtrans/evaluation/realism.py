"""Two sets of images compared as sets, by the features that some network has of them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from domtrans.compute.seeding import seeded
from domtrans.data.batches import evenly

SUBSET, SUBSETS = 500, 50
"""Of KID: images in a subset, at most, and number of subsets."""
LOOKED_AT = 2000
"""Images whose mutual distances are taken, at most, evenly over the set."""


class Precomputed(nn.Identity):
    """What torchmetrics takes for its feature network: the features are there already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """FID of features [N, F] and [M, F], by torchmetrics: Frechet distance of two Gaussians (Heusel et al. 2017)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=Precomputed(made.shape[1]))
    metric.update(made.double(), real=False)
    metric.update(real.double(), real=True)
    return max(0.0, float(metric.compute()))  # rounding may leave it a hair below


def kernel_distance(made: Tensor, real: Tensor) -> float:
    """KID of features [N, F] and [M, F], by torchmetrics; the same subsets every time.

    Unbiased squared MMD with a cubic kernel, the mean of 50 subsets of at most 500 (Binkowski et al. 2018).
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features in memory
        metric = KernelInceptionDistance(
            feature=Precomputed(made.shape[1]), subsets=SUBSETS, subset_size=min(SUBSET, len(made), len(real))
        )
    metric.update(made, real=False)
    metric.update(real, real=True)
    with seeded(0):
        return float(metric.compute()[0])


def spread(features: Tensor) -> float:
    """Mean distance between two of at most 2,000 rows of [N, F]; 0 of a single one."""
    chosen = features[evenly(len(features), LOOKED_AT)]
    return float(torch.pdist(chosen).double().mean()) if len(chosen) > 1 else 0.0
