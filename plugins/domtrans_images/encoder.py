"""f of feature maps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder
from domtrans_images.sizes import SIZES, Width


class MapEncoder(Encoder):
    """f: strided convolutions with batch norm and ReLU to feature maps that keep the layout of the image, and a head.

    The head is for labelled sources: two more strided convolutions on the maps, an average over positions, and a linear layer
    over the classes. The paper's f ends in a vector, from which g cannot know where things are in the image. That matters for
    images such as scenes.

    Args:
        width: Channels of the first layer; each halving of the resolution doubles them.
        stride: Pixels of the image for each position of the maps. A smaller one keeps more of the layout and of the details.
        features: C, the channels of the maps.
        depth: Convolutions per resolution.
        dropout: Share of the pooled features dropped before the classes while f is fitted.
        channels: Channels of the images that it reads: 3, or as many as those of both domains.
    """

    gives_maps = True
    sizes = SIZES

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        width: Width = 32,
        stride: Literal[4, 8, 16] = 8,
        features: Annotated[int, Field(ge=4, le=1024)] = 64,
        depth: Annotated[int, Field(ge=1, le=4)] = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        channels: Annotated[int, Field(ge=1, le=64)] = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.heads = {"class": classes} if classes > 1 else {}
        self.feature_shape = (features, size // stride, size // stride)
        layers, before = [], channels
        for stage in range(stride.bit_length() - 1):
            after = width * 2**stage
            layers += convolution(before, after, stride=2)
            for _ in range(depth - 1):
                layers += convolution(after, after)
            before = after
        self.layers = nn.Sequential(*layers, *convolution(before, features, kernel=1))
        self.head = nn.Sequential(
            *convolution(features, 2 * features, stride=2),
            *convolution(2 * features, 4 * features, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(4 * features, max(classes, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] to maps [B, features, size / stride, size / stride], non-negative."""
        return self.layers(images)

    def logits(self, features: Tensor) -> Tensor:
        """Maps to class logits [B, K]; DomtransError for an f of fewer than two classes."""
        if not self.heads:
            return super().logits(features)
        return self.head(features)


def convolution(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps or halves the resolution, batch norm and ReLU."""
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU()]
