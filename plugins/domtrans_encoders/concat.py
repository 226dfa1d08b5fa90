"""Several encoders as one."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder, EncoderOption, to_channels


class Concat(Encoder):
    """f: the concatenated features of several encoders, e.g. of a face recogniser and of a classifier.

    Its heads are those of the first encoder with attribute heads. Without one, its logits are the mean over the encoders
    with a classification head. The engine standardises every feature, so an encoder with more features has more weight.

    Args:
        encoders: The encoders, each with its own options.
    """

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        encoders: Annotated[list[EncoderOption], Field(min_length=1)] = [  # noqa: B006 - read as a default
            {"name": "timm"},
            {"name": "timm", "stage": 2},
        ],
    ) -> None:
        super().__init__()
        built: list[Encoder] = [build(size, classes) for build in encoders]
        self.channels = max(encoder.channels for encoder in built)
        self.lengths = [encoder.feature_size for encoder in built]
        self.feature_size = sum(self.lengths)
        self.encoders: Any = nn.ModuleList(built)
        with_heads = [number for number, encoder in enumerate(built) if encoder.heads]
        with_attributes = [number for number in with_heads if set(built[number].heads) != {"class"}]
        self.read_by = with_attributes[:1] or with_heads
        self.heads = built[self.read_by[0]].heads if self.read_by else {}

    def load_pretrained(self) -> None:
        """Load the published weights of every encoder that has some."""
        for encoder in self.encoders:
            encoder.load_pretrained()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] in [-1, 1] to features [B, F]; F is the sum over the encoders."""
        return torch.cat([encoder(to_channels(images, encoder.channels)) for encoder in self.encoders], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to logits [B, K], as the class describes; DomtransError if no encoder has a head."""
        if not self.read_by:
            return super().logits(features)
        parts = features.split(self.lengths, 1)
        return torch.stack([self.encoders[number].logits(parts[number]) for number in self.read_by]).mean(0)
