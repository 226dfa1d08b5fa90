"""D on the features of fixed networks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from domtrans import Discriminator, Encoder, EncoderOption, to_channels
from domtrans_images.fixed_network import fixed, typical_deviation
from domtrans_images.joint_discriminator import side_by_side
from domtrans_images.sizes import SIZES, Width

SMALLEST_SIDE = 4
"""Maps of this side or smaller are not halved again."""


class FeatureDiscriminator(Discriminator):
    """D on the features of fixed networks, with a small head for each (Sauer et al.: Projected GANs Converge Faster, 2021).

    A fixed random 1 x 1 convolution mixes the channels of a network's features. A head then halves the maps once and gives
    three logits for each position; it is all that learns. The paper also mixes neighbouring scales, and reads several scales of
    one pretrained network. Here each scale is a part of its own: ``{"name": "timm", "pretrained": true, "features": "map",
    "stage": 1}``, then stages 2 and 3. All heads count alike.

    Args:
        encoders: The fixed networks. One with published weights loads them; any other keeps its random weights, as the defaults
            do. Do not name a network that a metric of the recipe uses: D would then learn from the evaluator.
        width: Channels after the mixing and in the heads.
        classes: Number of classes of f's head, for a class-conditional D; "auto": as many as f's head has. 0: unconditional.
    """

    sizes = SIZES

    def __init__(
        self,
        channels: int,
        size: int,
        head_size: int = 0,
        *,
        encoders: Annotated[list[EncoderOption], Field(min_length=1)] = [  # noqa: B006 - read as a default
            {"name": "map-encoder", "stride": 4},
            {"name": "map-encoder", "stride": 8},
            {"name": "map-encoder", "stride": 16},
        ],
        width: Width = 64,
        classes: NonNegativeInt | Literal["auto"] = 0,
    ) -> None:
        super().__init__()
        self.condition_classes = head_size if classes == "auto" else classes
        self.scales = nn.ModuleList(Scale(fixed(build(size, 0)), size, width, self.condition_classes) for build in encoders)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images [B, channels, size, size], and one-hot classes [B, K] if D is conditional, to logits [B, 3, P, 1]."""
        return self.condition(side_by_side([scale(images) for scale in self.scales]), classes)


class Scale(nn.Module):
    """A fixed network, the fixed mixing of its channels, and a head that learns.

    Args:
        encoder: The network, fixed.
        size: Side of the images.
        width: Channels of the head.
        classes: K of a class-conditional D.
    """

    mixing: Tensor

    def __init__(self, encoder: Encoder, size: int, width: int, classes: int) -> None:
        super().__init__()
        self.encoder: Any = encoder
        features, side, _ = (*encoder.feature_shape, 1, 1)[:3]
        # Scaled so that the head gets numbers of about -1 to 1, whatever the network gives.
        mixing = torch.randn(width, features, 1, 1) / features**0.5 / typical_deviation(encoder, size)
        self.register_buffer("mixing", mixing)
        first = nn.Conv2d(width, width, 4, 2, 1) if side > SMALLEST_SIDE else nn.Conv2d(width, width, 1)
        self.head = nn.Sequential(
            spectral_norm(first),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 3 * (1 + classes), 1)),
            nn.Unflatten(1, (1 + classes, 3)),
        )

    def train(self, mode: bool = True) -> Scale:
        """Set the mode of the head; the network stays in eval mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] to logits [B, 1 + K, 3, h, w]."""
        features = self.encoder(to_channels(images, self.encoder.channels))
        maps = features if features.ndim == 4 else features[:, :, None, None]
        return self.head(nn.functional.conv2d(maps, self.mixing.to(maps.dtype)))
