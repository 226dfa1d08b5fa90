"""Target features brought to where the source's lie, so that g, which learns to draw from those, can draw from these."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHRINKAGE = 0.01
"""Of the mean variance, added to that of every direction: where neither domain varies, noise is not to be blown up."""


@dataclass(frozen=True)
class FeatureAlignment:
    """The affine map of features [B, F] that gives the target's the mean and the covariance of the source's.

    B. Sun, J. Feng, K. Saenko: Return of Frustratingly Easy Domain Adaptation (CORAL), AAAI 2016, algorithm 1, and the means
    as well: an f made for one domain may see all of the other in a corner of its own.
    """

    mean: Tensor
    """Of target features [F]."""
    matrix: Tensor
    """[F, F]"""
    place: Tensor
    """The mean of source features [F]."""

    @classmethod
    def of(cls, source: Tensor, target: Tensor) -> FeatureAlignment:
        """From features of both domains, [N, F] and [M, F]; two or more of each."""
        source, target = source.double(), target.double()
        matrix = power(target.T.cov(), -0.5) @ power(source.T.cov(), 0.5)
        return cls(target.mean(0).float(), matrix.float(), source.mean(0).float())

    def __call__(self, features: Tensor) -> Tensor:
        """Target features [B, F] among the source's, float32."""
        return (features - self.mean) @ self.matrix + self.place


def power(covariance: Tensor, exponent: float) -> Tensor:
    """A power of a covariance [F, F] of full rank, or made so by shrinkage."""
    variances, directions = torch.linalg.eigh(covariance)
    return (directions * (variances.clamp_min(0) + SHRINKAGE * variances.mean()) ** exponent) @ directions.T
