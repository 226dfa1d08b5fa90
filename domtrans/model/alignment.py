"""Map target features to the mean and covariance of source features, because g is trained on source features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from domtrans.compute.device import to_float64
from domtrans.data.batches import evenly
from domtrans.errors import DomtransError

SHRINKAGE = 0.01
"""Share of the mean variance that is added to the variance of every direction: directions without variance would amplify
noise."""
MAX_POSITIONS = 50_000
"""Positions of feature maps, at most, for their mean and covariance."""


@dataclass(frozen=True)
class FeatureAlignment:
    """The affine map of features [B, F] that gives the target features the mean and the covariance of the source's.

    Feature maps [B, C, h, w] are mapped position by position, as vectors of C numbers.

    Of all such maps it is the one that moves features least, the optimal transport of one normal distribution to another (R.
    Flamary, K. Lounici, A. Ferrari: Concentration bounds for linear Monge mapping estimation and optimal transport domain
    adaptation, 2019, equation 2). Its matrix is symmetric and positive definite, so that a larger value for f stays a larger
    value for g. CORAL (Sun, Feng, Saenko: Return of Frustratingly Easy Domain Adaptation, AAAI 2016) also rotates features.

    Attributes:
        target_mean: [F]
        matrix: [F, F]
        source_mean: [F]
    """

    target_mean: Tensor
    matrix: Tensor
    source_mean: Tensor

    @classmethod
    def of(cls, source: Tensor, target: Tensor) -> FeatureAlignment:
        """Compute the map from features of both domains, [N, F] and [M, F], or [N, C, h, w] and [M, C, h, w].

        Raises:
            DomtransError: If f gives all images of a domain the same features.
        """
        device = source.device
        for name, features in (("source", source), ("target", target)):
            if not bool((features != features[0]).any()):
                raise DomtransError(
                    f"f gives every {name} image the same features, so align_features=true cannot work; set it to false"
                )
        source, target = (to_float64(vectors_of(features)) for features in (source, target))
        source_covariance, target_covariance = covariance(source), covariance(target)
        root, inverse = power(target_covariance, 0.5), power(target_covariance, -0.5)
        matrix = inverse @ power(root @ source_covariance @ root, 0.5) @ inverse
        return cls(*(tensor.float().to(device) for tensor in (target.mean(0), matrix, source.mean(0))))

    def __call__(self, features: Tensor) -> Tensor:
        """Target features [B, F] to features like the source's, float32."""
        with torch.autocast(features.device.type, enabled=False):  # the map amplifies small differences
            vectors = features.float().movedim(1, -1)
            return ((vectors - self.target_mean) @ self.matrix + self.source_mean).movedim(-1, 1)


def vectors_of(features: Tensor) -> Tensor:
    """Features [N, F] as they are; maps [N, C, h, w] as the vectors [M, C] of at most 50,000 positions, evenly spread."""
    if features.ndim == 2:
        return features
    vectors = features.movedim(1, -1).flatten(0, -2)
    return vectors if len(vectors) <= MAX_POSITIONS else vectors[evenly(len(vectors), MAX_POSITIONS).to(vectors.device)]


def covariance(features: Tensor) -> Tensor:
    """The covariance of features [N, F], float64 [F, F], shrunk so that it can be inverted."""
    matrix = features.T.cov()
    return matrix + SHRINKAGE * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=matrix.dtype)


def power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric positive definite matrix [F, F]."""
    values, directions = torch.linalg.eigh(matrix)
    return (directions * values**exponent) @ directions.T
