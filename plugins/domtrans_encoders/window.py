"""Prepare images for a pretrained network: crop, resize and normalise, differentiably."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import DomtransError

Crop = Annotated[float, Field(gt=0, le=1)]
"""Side of the part that is kept, as a share of the image's side."""

Shift = Annotated[float, Field(ge=-0.5, le=0.5)]
"""Downward shift of the part, as a share of the image's side."""


class Window(nn.Module):
    """Crop a part of square RGB images and give it the size and range that a network was trained on.

    Args:
        size: Height and width of the output, in pixels.
        crop: Height of the part, as a share of the image's height; its width follows from ``size``.
        shift: How far the part's centre lies below the image's centre, as a share of the height; above, if negative.
        mean: Mean of the training data on a scale of 0 to 255, for R, G, B.
        scale: What values are divided by after the mean is subtracted, for R, G, B.
        bgr: Whether the network takes B, G, R.

    Raises:
        DomtransError: If the part reaches beyond the image.
    """

    factor: Tensor
    offset: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        *,
        crop: float = 1.0,
        shift: float = 0.0,
        mean: Sequence[float] = (127.5,) * 3,
        scale: Sequence[float] = (127.5,) * 3,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        height, width = self.size = size
        # Resize first and crop afterwards: a crop falls on whole pixels, and at 32 pixels it would move or stretch a face
        # by a thirtieth.
        self.side = round(height / crop)
        self.top = round((self.side - height) / 2 + shift * self.side)
        if not 0 <= self.top <= self.side - height or width > self.side:
            raise DomtransError(
                f"crop={crop} and shift={shift} reach beyond the image; with this crop, shift is at most "
                f"{(1 - crop) / 2:.3g} up or down"
            )
        self.bgr = bgr
        means, scales = (torch.tensor(tuple(values)).view(1, 3, 1, 1) for values in (mean, scale))
        # In one step from [-1, 1]: (127.5 (x + 1) - mean) / scale.
        self.register_buffer("factor", 127.5 / scales, persistent=False)
        self.register_buffer("offset", (127.5 - means) / scales, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """RGB images [B, 3, H, H] in [-1, 1] to [B, 3, *size]."""
        if tuple(images.shape[-2:]) != (self.side, self.side):
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        height, width = self.size
        left = (self.side - width) // 2
        images = images[..., self.top : self.top + height, left : left + width] * self.factor + self.offset
        return images.flip(1) if self.bgr else images
