"""c: a network that reads the parameters of a drawing from its image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder

STAGES = (1, 2, 4, 6)
"""Channels of the stages, in widths."""


class ParameterReader(Encoder):
    """c: images to parameters, as an encoder with one head for each slot of a drawing engine.

    Every stage is a 3 x 3 convolution with batch norm and ReLU, which halves the image. The last maps keep their positions,
    because the place in the image tells a beard from hair.

    Args:
        slots: The number of values of every slot, by name.
        width: Channels of the first stage; the others have 2, 4 and 6 times as many.
        features: Units of the hidden layer.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        slots: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)],
        width: Annotated[int, Field(ge=4, le=256)] = 32,
        features: Annotated[int, Field(ge=4, le=2048)] = 256,
    ) -> None:
        super().__init__()
        self.heads, self.feature_size = dict(slots), features
        layers: list[nn.Module] = []
        channels = 3
        for stage in STAGES:
            layers += [nn.Conv2d(channels, stage * width, 3, padding=1, bias=False), nn.BatchNorm2d(stage * width), nn.ReLU()]
            layers += [nn.MaxPool2d(2, ceil_mode=True)]
            channels = stage * width
        layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, features), nn.BatchNorm1d(features)]
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.head = nn.Linear(features, sum(slots.values()))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, size, size] in [-1, 1] to the hidden layer [B, features]."""
        return self.layers(images)

    def logits(self, features: Tensor) -> Tensor:
        """The hidden layer [B, features] to the logits of all slots side by side."""
        return self.head(features)
