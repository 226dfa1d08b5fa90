"""What a network sees of an image: which part, at which size, in which range; differentiable throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import DomtransError

Share = Annotated[float, Field(gt=0, le=1)]
"""Of the side of an image."""

Shift = Annotated[float, Field(ge=-0.5, le=0.5)]
"""Downwards, as a share of the side of an image."""


class Window(nn.Module):
    """Cuts a part out of a square image and gives it the size and the range that a network was trained with.

    ``size``: height and width of what comes out. ``crop``: share of the image's height that is looked at, of its width as
    much as keeps proportions. ``shift``: how far the part's middle is below the image's, as a share of the height; above,
    if negative. ``mean`` and ``scale`` are those of the training, on values of 0 to 255, of R, G, B; ``bgr``: the network
    takes B, G, R. Raises DomtransError for a part that reaches beyond the image.
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
        # The whole image is resized so that its part comes out right, and not cut first: a cut falls on whole pixels, and
        # at 32 of them that would move or stretch a face by a thirtieth.
        self.side = round(height / crop)
        self.top = round((self.side - height) / 2 + shift * self.side)
        if not 0 <= self.top <= self.side - height or width > self.side:
            raise DomtransError(
                f"crop={crop} and shift={shift} reach beyond the image: shift is at most {(1 - crop) / 2:.3g} up or down there"
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
