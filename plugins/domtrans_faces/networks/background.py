"""Blur what lies around a face, because an avatar has no background, and f would read hair and skin in it."""

from __future__ import annotations

import torch
from torch import Tensor

CENTRE, RADII, EDGE = (0.5, 0.47), (0.33, 0.47), 0.12
"""An ellipse around face and hair, for photographs that are cropped as those of LFW are, which the detector 'faces' does:
x and y of its centre and its radii as shares of the image's side, and half the width of its soft edge as a share of them."""

BLUR = 1 / 8
"""Standard deviation of the blur, as a share of the image's side."""


def blur_background(images: Tensor) -> Tensor:
    """Images [B, C, S, S] with everything outside the ellipse blurred; differentiable."""
    from torchvision.transforms.functional import gaussian_blur  # importing torchvision takes longer than importing torch

    size = images.shape[-1]
    reach = max(1, round(1.5 * BLUR * size))
    blurred = gaussian_blur(images, [2 * reach + 1] * 2, [BLUR * size] * 2)
    return torch.lerp(blurred, images, face_mask(size).to(images))


def face_mask(size: int) -> Tensor:
    """1 inside the ellipse, 0 outside, and in between at its edge: float32 [size, size]."""
    position = (torch.arange(size) + 0.5) / size
    x, y = ((position - middle) / radius for middle, radius in zip(CENTRE, RADII, strict=True))
    distance = torch.hypot(x[None, :], y[:, None])
    return ((1 + EDGE - distance) / (2 * EDGE)).clamp(0, 1)
