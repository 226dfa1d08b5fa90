"""D of patches and D of whole images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from domtrans import Discriminator
from domtrans_images.sizes import SIZES, Width, halvings

WIDEST = 8
"""Channels of the last layers, at most, in multiples of those of the first."""

Norm = Literal["spectral", "batch", "none"]


class PatchDiscriminator(Discriminator):
    """D of patches: three logits for each of many overlapping parts of an image (PatchGAN: Isola et al., CVPR 2017).

    Strided convolutions with leaky ReLU (0.2), then two of stride 1. A loss gets the logits of every patch as a row of its
    own, so it is the mean over images and patches. D judges texture and small shapes; where things are is left to L_CONST.

    Args:
        width: Channels of the first layer; each layer after it has twice as many, up to 8 times.
        layers: Strided convolutions. With 1, 2 or 3 of them a patch has 16, 34 or 70 pixels.
        norm: "spectral", with one pass over real and generated images; "batch", with a separate batch for each kind of image;
            or "none".
        classes: Number of classes of f's head, for a class-conditional D: it judges every patch as one of an image of the
            class that f predicts for x. "auto": as many as f's head has. 0, as in the paper: D is unconditional.
    """

    sizes = SIZES

    def __init__(
        self,
        channels: int,
        size: int,
        head_size: int = 0,
        *,
        width: Width = 64,
        layers: Annotated[int, Field(ge=1, le=3)] = 2,
        norm: Norm = "spectral",
        classes: NonNegativeInt | Literal["auto"] = 0,
    ) -> None:
        super().__init__()
        self.condition_classes = classes = head_size if classes == "auto" else classes
        strided, last = strided_convolutions(channels, width, layers, norm)
        wide = width * min(2**layers, WIDEST)
        self.layers = nn.Sequential(
            *strided,
            *convolution(last, wide, norm, stride=1),
            normed(nn.Conv2d(wide, 3 * (1 + classes), 4, 1, 1), norm),
            nn.Unflatten(1, (1 + classes, 3)),
        )

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images [B, channels, size, size], and one-hot classes [B, K] if D is conditional, to logits [B, 3, h, w]."""
        return self.condition(self.layers(images), classes)


class ImageDiscriminator(Discriminator):
    """D of whole images: strided convolutions with leaky ReLU (0.2) down to 4 to 7 pixels, and three logits.

    Args:
        width: Channels of the first layer; each layer after it has twice as many, up to 8 times.
        norm: "spectral", with one pass over real and generated images; "batch", with a separate batch for each kind of image;
            or "none".
        classes: Number of classes of f's head, for a class-conditional D. "auto": as many as f's head has. 0, as in
            the paper: D is unconditional.
    """

    sizes = SIZES

    def __init__(
        self,
        channels: int,
        size: int,
        head_size: int = 0,
        *,
        width: Width = 32,
        norm: Norm = "spectral",
        classes: NonNegativeInt | Literal["auto"] = 0,
    ) -> None:
        super().__init__()
        self.condition_classes = classes = head_size if classes == "auto" else classes
        count = halvings(size)
        strided, last = strided_convolutions(channels, width, count, norm)
        logits = normed(nn.Conv2d(last, 3 * (1 + classes), size // 2**count), norm)
        self.layers = nn.Sequential(*strided, logits, nn.Flatten(), nn.Unflatten(1, (1 + classes, 3)))

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images [B, channels, size, size], and one-hot classes [B, K] if D is conditional, to logits [B, 3]."""
        return self.condition(self.layers(images), classes)


def strided_convolutions(channels: int, width: int, count: int, norm: Norm) -> tuple[list[nn.Module], int]:
    """So many layers that halve the resolution, and the channels of the last one."""
    layers, before = [], channels
    for number in range(count):
        after = width * min(2**number, WIDEST)
        layers += convolution(before, after, norm, stride=2)
        before = after
    return layers, before


def convolution(before: int, after: int, norm: Norm, *, stride: int) -> list[nn.Module]:
    """A 4 x 4 convolution, its norm and leaky ReLU."""
    layer = normed(nn.Conv2d(before, after, 4, stride, 1), norm)
    return [layer, *([nn.BatchNorm2d(after)] if norm == "batch" else []), nn.LeakyReLU(0.2)]


def normed(layer: nn.Module, norm: Norm) -> nn.Module:
    """The layer, with spectral norm if that is the norm."""
    return spectral_norm(layer) if norm == "spectral" else layer
