"""f for photographs of faces: attribute heads on the features of a frozen recogniser."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder, EncoderOption, as_buffers, to_channels
from domtrans_faces.networks.background import blur_background
from domtrans_faces.vocabulary import VOCABULARY

DEFAULT_BACKBONE: dict[str, Any] = {"name": "dlib-resnet", "features": "map"}


class AttributeProbe(Encoder):
    """f: a frozen pretrained encoder, a dense layer on its features, and one head per attribute of faces.

    A few thousand photographs are not enough to learn from scratch what glasses look like, but the feature map of a
    recogniser represents it. Heads on frozen features are known as probes (Alain and Bengio: Understanding intermediate
    layers using linear classifier probes, 2016).

    Args:
        backbone: The frozen encoder; 'concat' for several. By default the feature map of dlib's recogniser, whose weights
            the extra ``faces`` installs.
        features: Number of features of the dense layer. 0: no dense layer; the heads are linear in the backbone's features,
            which are f's features. It overfits fewer photographs, with a fit that has a high ``weight_decay``.
        dropout: Share of the backbone's features dropped while f is fitted.
        beside: Another frozen encoder. Its features are part of f's features, for g and the losses, but the heads do not
            use them; e.g. 'colour-grid' for the lightness of skin and hair.
        background: What the frozen encoders see around the face: "keep" for the image as it is, or "blur" to blur everything
            outside an ellipse around face and hair, for images that are cropped as those of lfw are.
    """

    channels = 3
    heads = VOCABULARY

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        backbone: EncoderOption = DEFAULT_BACKBONE,
        features: Annotated[int, Field(ge=0, le=2048)] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beside: EncoderOption | None = None,
        background: Literal["keep", "blur"] = "keep",
    ) -> None:
        super().__init__()
        kept = [as_buffers(build(size, 0)) for build in (backbone, beside) if build is not None]
        self.kept: Any = nn.ModuleList(kept)
        self.background = background
        self.backbone_size = kept[0].feature_size
        self.read_size = features or self.backbone_size
        self.feature_size = self.read_size + sum(encoder.feature_size for encoder in kept[1:])
        dense = [nn.Linear(self.backbone_size, features), nn.BatchNorm1d(features), nn.ReLU()] if features else []
        self.layers = nn.Sequential(
            nn.BatchNorm1d(self.backbone_size, affine=False),  # brings the features of any encoder to one scale
            nn.Dropout(dropout),
            *dense,
        )
        self.head = nn.Linear(self.read_size, sum(map(len, VOCABULARY.values())))

    def load_pretrained(self) -> None:
        """Load the published weights of the frozen encoders; DomtransError if they cannot be loaded."""
        for encoder in self.kept:
            encoder.load_pretrained()

    def train(self, mode: bool = True) -> AttributeProbe:
        """Set the mode of the trainable layers; the frozen encoders stay in eval mode."""
        super().train(mode)
        self.kept.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, size, size] to features [B, F]; those that the heads read come first."""
        return self.read(self.fixed(images))

    def fixed(self, images: Tensor) -> Tensor:
        """Images [B, 3, size, size] to the features of the frozen encoders side by side, float32."""
        if self.background == "blur":
            images = blur_background(images)
        return torch.cat([encoder(to_channels(images, encoder.channels)).float() for encoder in self.kept], 1)

    def read(self, found: Tensor) -> Tensor:
        """The output of ``fixed`` to features [B, F]."""
        return torch.cat([self.layers(found[:, : self.backbone_size]), found[:, self.backbone_size :]], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, F] to the logits of all attributes side by side, in the order of the vocabulary: [B, 32]."""
        return self.head(features[:, : self.read_size])
