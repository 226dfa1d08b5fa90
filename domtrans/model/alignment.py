"""Target features brought to where the source's lie, so that g, which learns to draw from those, can draw from these."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from domtrans.errors import DomtransError

SHRINKAGE = 0.01
"""Of the mean variance, added to that of every direction: where a domain does not vary, noise is not to be blown up."""


@dataclass(frozen=True)
class FeatureAlignment:
    """The affine map of features [B, F] that gives the target's the mean and the covariance of the source's.

    Of all such maps the one that moves them least, the optimal transport of one normal distribution to another (R. Flamary,
    K. Lounici, A. Ferrari: Concentration bounds for linear Monge mapping estimation and optimal transport domain adaptation,
    2019, equation 2): its matrix is symmetric and positive, so that what is more for f before is more for g after. CORAL's
    (Sun, Feng, Saenko: Return of Frustratingly Easy Domain Adaptation, AAAI 2016) turns features besides.
    """

    mean: Tensor
    """Of target features [F]."""
    matrix: Tensor
    """[F, F]"""
    place: Tensor
    """The mean of source features [F]."""

    @classmethod
    def of(cls, source: Tensor, target: Tensor) -> FeatureAlignment:
        """From features of both domains, [N, F] and [M, F]; DomtransError if those of either are all the same."""
        device = source.device
        source, target = source.cpu().double(), target.cpu().double()  # not every device has float64
        for name, features in (("source", source), ("target", target)):
            if not bool((features != features[0]).any()):
                raise DomtransError(f"f sees every {name} image alike, so align_features=true cannot work; set it to false")
        wanted, there = covariance(source), covariance(target)
        root, inverse = power(there, 0.5), power(there, -0.5)
        matrix = inverse @ power(root @ wanted @ root, 0.5) @ inverse
        return cls(*(found.float().to(device) for found in (target.mean(0), matrix, source.mean(0))))

    def __call__(self, features: Tensor) -> Tensor:
        """Target features [B, F] among the source's, float32."""
        with torch.autocast(features.device.type, enabled=False):  # small differences are made large
            return (features.float() - self.mean) @ self.matrix + self.place


def covariance(features: Tensor) -> Tensor:
    """Of features [N, F], float64 [F, F], shrunk towards a ball so that it can be inverted."""
    found = features.T.cov()
    return found + SHRINKAGE * found.diagonal().mean() * torch.eye(len(found), dtype=found.dtype)


def power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric positive matrix [F, F]."""
    values, directions = torch.linalg.eigh(matrix)
    return (directions * values**exponent) @ directions.T
