"""Colours as features, because face recognisers ignore the colour and lightness of skin and hair."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from domtrans import Encoder


class ColourGrid(Encoder):
    """f: the colours of a grid over the centre of the image, without trainable weights.

    Combined with a recogniser by the encoder 'concat', it gives g the colours of skin and hair. The background, which an
    avatar does not have, is ignored.

    Args:
        fields: Fields along one side of the grid.
        crop: Side of the grid, as a share of the image's side.
        levels: 1 for the mean colour of every field. More for a histogram: the share of the field that has each of
            levels^3 colours, which are evenly spaced in R, G and B. A pixel counts for the colours around its own, the more
            the nearer they are. A mean does not tell half black and half white from grey, and a linear head on means does
            not recognise a colour between two others; a histogram does both.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        fields: Annotated[int, Field(ge=1, le=16)] = 4,
        crop: Annotated[float, Field(gt=0, le=1)] = 0.6,
        levels: Annotated[int, Field(ge=1, le=8)] = 1,
    ) -> None:
        super().__init__()
        self.fields, self.crop, self.levels = fields, crop, levels
        self.feature_size = (3 if levels == 1 else levels**3) * fields**2

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to mean colours [B, 3 * fields^2], in [-1, 1], or shares [B, levels^3 * fields^2]."""
        margin = round(images.shape[-1] * (1 - self.crop) / 2)
        middle = images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]
        values = middle if self.levels == 1 else nearness(middle, self.levels)
        return F.adaptive_avg_pool2d(values, self.fields).flatten(1)


def nearness(images: Tensor, levels: int) -> Tensor:
    """How near the pixels [B, 3, H, W], in [-1, 1], are to each of levels^3 colours: [B, levels^3, H, W], with a sum of 1.

    The weights of trilinear interpolation, so that the gradient passes.
    """
    steps = torch.arange(levels, device=images.device).view(1, 1, levels, 1, 1)
    position = (images.float().clamp(-1, 1) + 1) / 2 * (levels - 1)
    red, green, blue = (1 - (position[:, :, None] - steps).abs()).clamp_min(0).unbind(1)
    return (red[:, :, None, None] * green[:, None, :, None] * blue[:, None, None]).flatten(1, 3)
