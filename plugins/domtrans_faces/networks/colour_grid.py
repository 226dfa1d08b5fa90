"""Mean colours as features, because face recognisers ignore the colour and lightness of skin and hair."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from domtrans import Encoder


class ColourGrid(Encoder):
    """f: the mean colours of a grid over the centre of the image, without trainable weights.

    Combined with a recogniser by the encoder 'concat', it gives g the colours of skin and hair. The background, which an
    avatar does not have, is ignored.

    Args:
        fields: Fields along one side of the grid.
        crop: Side of the grid, as a share of the image's side.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        fields: Annotated[int, Field(ge=1, le=16)] = 4,
        crop: Annotated[float, Field(gt=0, le=1)] = 0.6,
    ) -> None:
        super().__init__()
        self.fields, self.crop, self.feature_size = fields, crop, 3 * fields**2

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to mean colours [B, 3 * fields^2], in [-1, 1]."""
        margin = round(images.shape[-1] * (1 - self.crop) / 2)
        middle = images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]
        return F.adaptive_avg_pool2d(middle, self.fields).flatten(1)
