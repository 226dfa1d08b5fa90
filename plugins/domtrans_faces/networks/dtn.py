"""g and D of the face experiment (section 5.2 of the paper, section III B of the study)."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from domtrans import Discriminator, FeatureNoise, Generator, NoiseSize

Width = Annotated[int, Field(ge=4, le=512)]


class FaceGenerator(Generator):
    """g: 5 blocks of strided transposed convolution, batch norm and ReLU, and a last layer with tanh; 64 x 64 pixels.

    Other image sizes are interpolated from these, like the 96 x 96 pixels of the study.

    Args:
        width: Channels of the last block; those before it have 4, 4, 4 and 2 times as many.
        mixing: A 1 x 1 convolution after each block, as in the paper.
        last: The last layer: "transposed", as in the study, or "nearest", nearest-neighbour upsampling and a 3 x 3
            convolution, which avoids checkerboard artefacts.
        colours: Number of flat colours that g chooses for each image. Every pixel is a mix of them, mostly one of them, which
            keeps areas even and hair free of speckles. 0, as in the paper: every pixel has a colour of its own.
        noise: Values of z, N(0, 1), that g reads beside f(x), so that one image can have many transfers. 0: none.
    """

    drawn_size = 64

    def __init__(
        self,
        feature_size: int,
        channels: int,
        size: int,
        *,
        width: Width = 48,
        mixing: bool = False,
        last: Literal["nearest", "transposed"] = "nearest",
        colours: Annotated[int, Field(ge=0, le=256)] = 0,
        noise: NoiseSize = 0,
    ) -> None:
        super().__init__()
        self.size = size
        self.noise = FeatureNoise(feature_size, noise)

        def block(before: int, after: int) -> list[nn.Module]:
            up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            return [up, nn.BatchNorm2d(after), nn.ReLU(), *([nn.Conv2d(after, after, 1)] if mixing else [])]

        widths = (feature_size + noise, 4 * width, 4 * width, 4 * width, 2 * width, width)
        blocks = [block(before, after) for before, after in itertools.pairwise(widths)]
        drawn = colours or channels
        if last == "transposed":
            final: list[nn.Module] = [nn.ConvTranspose2d(width, drawn, 4, 2, 1)]
        else:
            final = [nn.Upsample(scale_factor=2), nn.Conv2d(width, drawn, 3, 1, 1)]
        self.layers = nn.Sequential(nn.Unflatten(1, (widths[0], 1, 1)), *itertools.chain(*blocks), *final)
        self.palette = Palette(widths[0], channels, colours) if colours else None

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to images [B, channels, size, size]."""
        features = self.noise(features)
        # float32, because in bfloat16 tanh rounds to exactly -1 or 1, where its gradient is 0 and the pixel stops learning.
        drawn = self.layers(features).float()
        images = torch.tanh(drawn) if self.palette is None else self.palette(drawn, features)
        if self.size == self.drawn_size:
            return images
        return F.interpolate(images, (self.size,) * 2, mode="bilinear", antialias=True)


class Palette(nn.Module):
    """The last step of a g that draws with flat colours: mixes the colours of an image by the shares of each pixel.

    Args:
        features: Numbers that the colours depend on.
        channels: Channels of a colour.
        colours: Colours of an image.
    """

    sharpness = 8.0
    """Factor of the logits of the shares, so that a pixel soon takes one colour and not the mean of all."""

    def __init__(self, features: int, channels: int, colours: int) -> None:
        super().__init__()
        self.colours = nn.Linear(features, colours * channels)
        # At first all images have the same colours: the lightest, the darkest, and random ones.
        levels = torch.rand(colours, channels) * 4 - 2
        levels[:1], levels[1:2] = 2, -2
        nn.init.zeros_(self.colours.weight)
        self.colours.bias = nn.Parameter(levels.flatten())

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Logits of the shares [B, N, H, W] and features [B, F] to images [B, channels, H, W] in [-1, 1]."""
        # In channels_last, which training uses, no value is moved.
        shares = (self.sharpness * logits.permute(0, 2, 3, 1)).softmax(-1)
        colours = torch.tanh(self.colours(features).float()).unflatten(1, (shares.shape[-1], -1))
        return torch.einsum("bhwn,bnc->bhwc", shares, colours).float().permute(0, 3, 1, 2)


class FaceDiscriminator(Discriminator):
    """D: 5 strided convolutions with leaky ReLU (0.2), three logits; for images of 32 pixels or more.

    Args:
        width: Channels of the first layer; the others have 2, 4, 4 and 4 times as many.
        norm: "spectral", with one pass over real and generated images; or "batch", as in the study, with a separate batch
            for each kind of image.
        classes: Number of logits of f's heads, for a class-conditional D: it judges an image as one of a face with the
            attributes that f predicts for x. "auto": as many as f has, which is 32 for the encoder 'attributes'. 0, as in
            the paper: D is unconditional.
    """

    sizes = range(32, 1025)

    def __init__(
        self,
        channels: int,
        size: int,
        head_size: int = 0,
        *,
        width: Width = 32,
        norm: Literal["spectral", "batch"] = "spectral",
        classes: NonNegativeInt | Literal["auto"] = 0,
    ) -> None:
        super().__init__()

        def conv(before: int, after: int, kernel: int = 4, stride: int = 2, padding: int = 1) -> nn.Module:
            layer = nn.Conv2d(before, after, kernel, stride, padding)
            return spectral_norm(layer) if norm == "spectral" else layer

        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((channels, width, 2 * width, 4 * width, 4 * width, 4 * width)):
            layers += [conv(before, after), *([nn.BatchNorm2d(after)] if norm == "batch" else []), nn.LeakyReLU(0.2)]
        self.condition_classes = classes = head_size if classes == "auto" else classes
        last = conv(4 * width, 3 * (1 + classes), size // 32, 1, 0)
        self.layers = nn.Sequential(*layers, last, nn.Flatten(), nn.Unflatten(1, (1 + classes, 3)))

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images [B, channels, size, size], and f's predictions [B, K] if D is conditional, to logits [B, 3]."""
        return self.condition(self.layers(images), classes)
