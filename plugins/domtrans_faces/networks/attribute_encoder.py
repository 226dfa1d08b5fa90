"""f for faces: a small attribute classifier."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder
from domtrans_faces.vocabulary import VOCABULARY


class AttributeEncoder(Encoder):
    """f: 4 strided convolutions with batch norm and ReLU, a dense layer, and one head per attribute of drawn faces.

    Args:
        width: Channels of the first layer; the others have 2, 4 and 4 times as many.
        depth: Convolutions per resolution, except for the last one. 2 reads small things better, such as mouths.
        features: F, the number of features.
        dropout: Share of the features dropped before the heads while f is fitted.
    """

    channels = 3
    heads = VOCABULARY

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        width: Annotated[int, Field(ge=4, le=256)] = 32,
        features: Annotated[int, Field(ge=4, le=2048)] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        depth: Annotated[int, Field(ge=1, le=4)] = 1,
    ) -> None:
        super().__init__()
        self.feature_size = features
        layers: list[nn.Module] = []

        def convolution(before: int, after: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        for before, after in itertools.pairwise((3, width, 2 * width, 4 * width)):
            layers += convolution(before, after, 2)
            for _ in range(depth - 1):
                layers += convolution(after, after, 1)
        layers += convolution(4 * width, 4 * width, 2)
        # No global average: the position in the face distinguishes a beard from hair.
        self.layers = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, features), nn.BatchNorm1d(features), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, sum(map(len, VOCABULARY.values())))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, size, size] to features [B, F], non-negative."""
        return self.layers(images)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to the logits of all attributes side by side, in the order of the vocabulary: [B, 32]."""
        return self.head(self.dropout(features))
