"""g of feature maps and g of vectors. Both draw with the same layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import FeatureNoise, Generator, NoiseSize
from domtrans_images.sizes import SIZES, Width, halvings

WIDEST = 8
"""Channels of the coarsest layers, at most, in multiples of those of the finest."""

Depth = Annotated[int, Field(ge=0, le=9)]


class MapGenerator(Generator):
    """g of feature maps: residual blocks at the resolution of the maps, then nearest up-sampling and convolutions, tanh.

    What f puts at a position stays there, so the layout of x reaches G(x). There are no connections from x to g: g
    reads only the features, as in the paper. Nearest up-sampling avoids checkerboard artefacts (Odena et al.: Deconvolution
    and Checkerboard Artifacts, Distill, 2016).

    Args:
        width: Channels at full resolution; each halving of the resolution doubles them, up to 8 times as many.
        depth: Residual blocks at the resolution of the maps. More of them let g change larger shapes.
        bottleneck: Channels to which a first 1 x 1 convolution reduces the maps, so that g sees less of x; none: all.
        noise: Values of z, N(0, 1), that g reads beside the maps, the same at every position, so that one image can have many
            transfers. 0: none.
    """

    reads_maps = True
    sizes = SIZES

    def __init__(
        self,
        feature_shape: tuple[int, int, int],
        channels: int,
        size: int,
        *,
        width: Width = 32,
        depth: Depth = 2,
        bottleneck: Annotated[int, Field(ge=1, le=1024)] | None = None,
        noise: NoiseSize = 0,
    ) -> None:
        super().__init__()
        features, side, _ = feature_shape
        # The doublings that lead from about the side of the maps to the size of the image.
        doublings = min(range(halvings(size) + 1), key=lambda count: abs(size / 2**count - side))
        self.side = size // 2**doublings
        coarse = width * min(2**doublings, WIDEST)
        reduced = features if bottleneck is None else bottleneck
        self.noise = FeatureNoise(features, noise)
        self.layers = nn.Sequential(
            *([] if bottleneck is None else [nn.Conv2d(features + noise, reduced + noise, 1)]),
            *convolution(reduced + noise, coarse),
            *(Block(coarse) for _ in range(depth)),
            *upsampling(width, doublings),
            nn.Conv2d(width, channels, 3, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Maps [B, C, h, w] to images [B, channels, size, size]."""
        if tuple(features.shape[2:]) != (self.side, self.side):  # of a network whose stride is no power of 2
            features = F.interpolate(features, (self.side, self.side), mode="bilinear", align_corners=False)
        # float32, because in bfloat16 tanh rounds to exactly -1 or 1, where its gradient is 0 and the pixel stops learning.
        return torch.tanh(self.layers(self.noise(features)).float())


class ImageGenerator(Generator):
    """g of a feature vector: a transposed convolution to 4 to 7 pixels, then as the generator ``map-generator``.

    Args:
        width: Channels at full resolution; each halving of the resolution doubles them, up to 8 times as many.
        depth: Residual blocks at the lowest resolution.
        noise: Values of z, N(0, 1), that g reads beside f(x), so that one image can have many transfers. 0: none.
    """

    sizes = SIZES

    def __init__(
        self, feature_size: int, channels: int, size: int, *, width: Width = 32, depth: Depth = 0, noise: NoiseSize = 0
    ) -> None:
        super().__init__()
        self.noise = FeatureNoise(feature_size, noise)
        doublings = halvings(size)
        coarse = width * min(2**doublings, WIDEST)
        self.layers = nn.Sequential(
            nn.Unflatten(1, (feature_size + noise, 1, 1)),
            nn.ConvTranspose2d(feature_size + noise, coarse, size // 2**doublings, bias=False),
            nn.BatchNorm2d(coarse),
            nn.ReLU(),
            *(Block(coarse) for _ in range(depth)),
            *upsampling(width, doublings),
            nn.Conv2d(width, channels, 3, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to images [B, channels, size, size]."""
        return torch.tanh(self.layers(self.noise(features)).float())  # float32, as in map-generator


class Block(nn.Module):
    """Residual block: two 3 x 3 convolutions with batch norm (He et al.: Deep Residual Learning, CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] to the same shape."""
        return F.relu(x + self.layers(x))


def convolution(before: int, after: int) -> list[nn.Module]:
    """A 3 x 3 convolution, batch norm and ReLU."""
    return [nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def upsampling(width: int, doublings: int) -> list[nn.Module]:
    """Layers that double the resolution so often and end with ``width`` channels."""
    widths = [width * min(2**count, WIDEST) for count in range(doublings, -1, -1)]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Upsample(scale_factor=2), *convolution(before, after)]
    return layers
