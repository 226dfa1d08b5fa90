"""Several encoders as one."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from domtrans import DomtransError, Encoder, EncoderOption, to_channels


class Concat(Encoder):
    """f: the features of several encoders side by side, e.g. of a face recogniser and of a classifier.

    Its heads are those of the first encoder that tells attributes; else its head, if any of them has one, gives the mean of
    their logits. The engine standardises every feature, so that each counts alike: an encoder with more features counts more.

    ``encoders``: the encoders, each with its own options.
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
        tellers = [number for number, encoder in enumerate(built) if encoder.heads][:1]
        self.heads = built[tellers[0]].heads if tellers else {}
        self.asked = tellers or list(range(len(built)))

    def load_pretrained(self) -> None:
        """Load the published weights of each that begins from some."""
        for encoder in self.encoders:
            encoder.load_pretrained()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] in [-1, 1] to features [B, F], F the sum of theirs."""
        return torch.cat([encoder(to_channels(images, encoder.channels)) for encoder in self.encoders], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to the logits [B, K] of the encoder that tells attributes, or the mean of those that have a head.

        Raises DomtransError if none has.
        """
        found, parts = [], features.split(self.lengths, 1)
        for number in self.asked:
            try:
                found.append(self.encoders[number].logits(parts[number]))
            except DomtransError:
                continue
        return torch.stack(found).mean(0) if found else super().logits(features)
