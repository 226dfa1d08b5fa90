"""Networks of the digit experiment, 32 x 32 pixels (section 5.1 of the paper, section III A of the study)."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from domtrans import Discriminator, Encoder, Evaluator, FeatureNoise, Generator, NoiseSize

Width = Annotated[int, Field(ge=4, le=1024)]
SIZE = 32
"""The only image side that these networks support, pixels."""


class DigitEncoder(Encoder):
    """f: 4 strided convolutions 64-128-256-128 with ReLU to 128 features, and a linear head over the classes.

    Args:
        head: Number of classes of the head, for weights trained elsewhere; by default that of the labelled source.
        even_contrast: Normalise every image to zero mean and unit standard deviation first, so that a faint digit has the
            features of a bold one.
    """

    channels = 3
    feature_size = 128
    sizes = (SIZE,)

    def __init__(self, size: int, classes: int, *, head: PositiveInt | None = None, even_contrast: bool = False) -> None:
        super().__init__()
        self.even_contrast = even_contrast
        classes = classes if head is None else head
        self.heads = {"class": classes} if classes > 1 else {}
        # One Sequential with the head, so that the weights of a classifier trained elsewhere load by layer position.
        self.classify = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(128, 256, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(256, 128, 4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, max(classes, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, 32, 32] to features [B, 128], non-negative."""
        if self.even_contrast:
            images = images.float()
            images = images - images.mean((1, 2, 3), keepdim=True)
            # Ten times as fast as torch.std on a CPU. Its gradient for a flat image is 0, too.
            deviation = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True) / (images[0].numel() - 1) ** 0.5
            images = images / (deviation + 0.02)  # a flat image stays near zero
        return self.classify[:-1](images)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, 128] to class logits [B, K]; DomtransError for an f of fewer than two classes."""
        if not self.heads:
            return super().logits(features)
        return self.classify[-1](features)


class DigitGenerator(Generator):
    """g: 4 transposed convolutions with batch norm and ReLU, tanh at the end.

    Args:
        width: Channels of the last hidden layer; each layer before it has twice as many.
        noise: Values of z, N(0, 1), that g reads beside f(x), so that one image can have many transfers. 0: none.
    """

    sizes = (SIZE,)

    def __init__(self, feature_size: int, channels: int, size: int, *, width: Width = 64, noise: NoiseSize = 0) -> None:
        super().__init__()
        self.noise = FeatureNoise(feature_size, noise)

        def up(before: int, after: int, stride: int = 2, padding: int = 1) -> list[nn.Module]:
            return [nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        self.layers = nn.Sequential(
            nn.Unflatten(1, (feature_size + noise, 1, 1)),
            *up(feature_size + noise, 4 * width, stride=1, padding=0),
            *up(4 * width, 2 * width),
            *up(2 * width, width),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to images [B, channels, 32, 32]."""
        # float32, because in bfloat16 tanh rounds to exactly -1 or 1, where its gradient is 0 and the pixel stops learning.
        return torch.tanh(self.layers(self.noise(features)).float())


class DigitImageGenerator(Generator):
    """G without f: its input is the image itself (an ablation of the paper).

    As large as f and g together: 4 strided convolutions 64-128-256-128 with batch norm and ReLU, then a digit-generator.
    All layers are trained.

    Args:
        width: Width of the digit-generator.
    """

    reads_images = True
    sizes = (SIZE,)

    def __init__(self, feature_size: int, channels: int, size: int, *, width: Width = 64) -> None:
        super().__init__()

        def down(before: int, after: int, kernel: int = 3, stride: int = 2, padding: int = 1) -> list[nn.Module]:
            layer = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
            return [layer, nn.BatchNorm2d(after), nn.ReLU()]

        self.draw = DigitGenerator(128, channels, size, width=width)
        self.read = nn.Sequential(*down(3, 64), *down(64, 128), *down(128, 256), *down(256, 128, 4, 1, 0), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, 32, 32] to images [B, channels, 32, 32]."""
        return self.draw(self.read(images))


class DigitDiscriminator(Discriminator):
    """D: 4 strided convolutions with leaky ReLU (0.2), three logits.

    Args:
        width: Channels of the first layer; each layer after it has twice as many.
        norm: "spectral", with one pass over real and generated images; "batch", as in the study, with a separate batch
            for each kind of image; or "none".
        classes: Number of classes of f's head, for a class-conditional D: it judges an image as one of the class that f
            predicts for x. This adds three logits per class. "auto": as many as f's head has. 0, as in the paper: D is
            unconditional.
        minibatch_deviation: Whether D also sees how much the images of a batch differ, so that g cannot draw all alike
            (Karras et al.: Progressive Growing of GANs, ICLR 2018, section 3). Each kind of image then has its own pass.
    """

    sizes = (SIZE,)

    def __init__(
        self,
        channels: int,
        size: int,
        head_size: int = 0,
        *,
        width: Width = 64,
        norm: Literal["spectral", "batch", "none"] = "spectral",
        classes: NonNegativeInt | Literal["auto"] = 0,
        minibatch_deviation: bool = False,
    ) -> None:
        super().__init__()

        classes = head_size if classes == "auto" else classes

        def conv(before: int, after: int, stride: int = 2, padding: int = 1) -> nn.Module:
            layer = nn.Conv2d(before, after, 4, stride, padding)
            return spectral_norm(layer) if norm == "spectral" else layer

        layers: list[nn.Module] = []
        widths = (channels, width, 2 * width, 4 * width)
        for before, after in itertools.pairwise(widths):
            layers += [conv(before, after), *([nn.BatchNorm2d(after)] if norm == "batch" else []), nn.LeakyReLU(0.2)]
        self.condition_classes, self.compares_images = classes, minibatch_deviation
        if minibatch_deviation:
            layers.append(MinibatchDeviation())
        last = conv(4 * width + minibatch_deviation, 3 * (1 + classes), stride=1, padding=0)
        self.layers = nn.Sequential(*layers, last, nn.Flatten(), nn.Unflatten(1, (1 + classes, 3)))

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images [B, channels, 32, 32], and one-hot classes [B, K] if D is conditional, to logits [B, 3]."""
        return self.condition(self.layers(images), classes)


class MinibatchDeviation(nn.Module):
    """Append a channel with the standard deviation over the batch, averaged over channels and pixels."""

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps [B, C, H, W] to [B, C + 1, H, W]."""
        # A small number is added, because the gradient of a root is infinite at 0.
        deviation = (maps.float().var(0, correction=0) + 1e-8).sqrt().mean()
        return torch.cat([maps, deviation.to(maps.dtype).expand(len(maps), 1, *maps.shape[2:])], 1)


MIN_SIZE = 24
"""The smallest side of images that the layers of the evaluator do not reduce to nothing; smaller ones are enlarged."""


class DigitEvaluator(Evaluator):
    """A digit classifier for evaluation only; it never enters a loss."""

    def __init__(self, channels: int, classes: int, width: int = 24) -> None:
        super().__init__()

        def block(before: int, after: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, kernel, stride, padding, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        self.layers = nn.Sequential(
            *block(channels, width, 5, 2, 2),
            *block(width, 2 * width, 3, 1, 1),
            nn.MaxPool2d(2),
            *block(2 * width, 4 * width, 3, 1, 1),
            nn.MaxPool2d(2),
            *block(4 * width, 4 * width, 3, 1, 0),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4 * width, classes),
        )

    def forward(self, images: Tensor, *, hidden: bool = False) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] to class logits [B, K], or to the last hidden layer [B, 4 * width]."""
        if images.shape[-1] < MIN_SIZE:
            images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False)
        *before, last = self.layers
        for layer in before:
            images = layer(images)
        return images if hidden else last(images)
