"""f for photographs of faces: a recogniser that is fixed, and heads that read its features."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder, EncoderOption, to_channels
from domtrans_faces.vocabulary import VOCABULARY

MAP: dict[str, Any] = {"name": "mobilefacenet", "features": "map"}


class AttributeProbe(Encoder):
    """f: a published encoder that stays as it is, a dense layer on its features, and a head for every attribute of faces.

    A few thousand photographs are not enough to learn from scratch what glasses look like; a recogniser's inner map knows it.
    Heads on fixed features are known as probes (Alain and Bengio: Understanding intermediate layers using linear classifier
    probes, 2016).

    ``backbone``: the encoder; 'concat' for several. ``features``: of the dense layer. ``dropout``: share of the backbone's
    features that are left out while f is fitted. ``beside``: another encoder that stays as it is, whose features are f's too,
    for g and the losses, but are not read by the heads, e.g. 'colour-grid' for how light skin and hair are.
    """

    channels = 3
    heads = VOCABULARY

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        backbone: EncoderOption = MAP,
        features: Annotated[int, Field(ge=4, le=2048)] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beside: EncoderOption | None = None,
    ) -> None:
        super().__init__()
        kept = [as_buffers(build(size, 0)) for build in (backbone, beside) if build is not None]
        self.kept: Any = nn.ModuleList(kept)
        self.known, self.learned = kept[0].feature_size, features
        self.feature_size = features + sum(encoder.feature_size for encoder in kept[1:])
        self.layers = nn.Sequential(
            nn.BatchNorm1d(self.known, affine=False),  # features of any encoder on one scale
            nn.Dropout(dropout),
            nn.Linear(self.known, features),
            nn.BatchNorm1d(features),
            nn.ReLU(),
        )
        self.head = nn.Linear(features, sum(map(len, VOCABULARY.values())))

    def load_pretrained(self) -> None:
        """Load the published weights of what stays as it is; DomtransError if they cannot be had."""
        for encoder in self.kept:
            encoder.load_pretrained()

    def train(self, mode: bool = True) -> AttributeProbe:
        """What is fixed stays in eval mode."""
        super().train(mode)
        self.kept.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, size, size] to features [B, F]; the first, those of the dense layer, are not negative."""
        return self.read(self.fixed(images))

    def fixed(self, images: Tensor) -> Tensor:
        """Images [B, 3, size, size] to the features of what is fixed, side by side, float32."""
        return torch.cat([encoder(to_channels(images, encoder.channels)).float() for encoder in self.kept], 1)

    def read(self, found: Tensor) -> Tensor:
        """What ``fixed`` gives to f's features [B, F]."""
        return torch.cat([self.layers(found[:, : self.known]), found[:, self.known :]], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to the logits of all values of all attributes, in the vocabulary's order: [B, 32]."""
        return self.head(features[:, : self.learned])


def as_buffers(encoder: Encoder) -> Encoder:
    """The same encoder with its weights out of every optimizer's reach: saved and moved like others, but no parameters."""
    for module in encoder.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return encoder
