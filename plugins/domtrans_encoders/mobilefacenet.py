"""MobileFaceNet (Chen, Liu, Gao, Han: MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import Encoder, load_exactly, read_weights
from domtrans_encoders.published import PReLU, required_path
from domtrans_encoders.window import Crop, Shift, Window

BOTTLENECKS = ((64, 128, 2, 5), (128, 256, 2, 1), (128, 256, 1, 6), (128, 512, 2, 1), (128, 256, 1, 2))
"""Width, expanded width, stride of the first block, number of blocks (table 1 of the paper)."""

EMBEDDING_LAYERS = 4
"""Layers between the last feature map and the embedding."""


class MobileFaceNet(Encoder):
    """f: MobileFaceNet, a face recogniser for phones: 192 features of length 1, or the 128 x 7 x 7 map before them.

    Args:
        path: Weights with batch norm folded in: a .safetensors file with ``N.weight``, ``N.bias`` and ``N.prelu`` for
            layer N.
        crop: Side of the part that the network sees, as a share of the image's side.
        shift: How far the part's centre lies below the image's centre, as a share of the side; above, if negative.
        features: "embedding" for the 192 features that identify a person, or "map" for the 6,272 before them, which
            still hold what a recogniser learns to ignore, such as glasses.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        path: str | None = None,
        crop: Crop = 0.8,
        shift: Shift = -0.09,
        features: Literal["embedding", "map"] = "embedding",
    ) -> None:
        super().__init__()
        self.path, self.features = path, features
        self.feature_size = 192 if features == "embedding" else 128 * 7 * 7
        self.window = Window((112, 112), crop=crop, shift=shift, scale=(128.0,) * 3)
        layers: list[nn.Module] = [
            Convolution(3, 64, 3, stride=2),
            Convolution(64, 64, 3, groups=64),
            Convolution(64, 64, 1, active=False),
        ]
        before = 64
        for width, wide, stride, count in BOTTLENECKS:
            for index in range(count):
                layers.append(Bottleneck(before, wide, width, stride if index == 0 else 1, shortcut=stride == 1 or index > 0))
                before = width
        self.body = nn.Sequential(
            *layers,
            Convolution(128, 512, 1),
            Convolution(512, 512, 7, groups=512, padded=False, active=False),
            Convolution(512, 512, 1, active=False),
            Convolution(512, 192, 1, active=False),
        )

    def load_pretrained(self) -> None:
        """Load the weights; DomtransError if the file is missing or holds something else."""
        path = required_path(self.path, "mobilefacenet", "the .safetensors file")
        load_exactly(self.body, self._rename(read_weights(path)), path, "MobileFaceNet")

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, F]."""
        inputs = self.window(images)
        if self.features == "map":
            return self.body[:-EMBEDDING_LAYERS](inputs).flatten(1)
        return F.normalize(self.body(inputs).flatten(1).float())

    def _rename(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published tensors under the names of this class. Theirs are numbers, with gaps where a shortcut is added."""
        numbers = sorted({number for name in published if (number := name.partition(".")[0]).isdigit()}, key=int)
        layers = [name for name, module in self.body.named_modules() if isinstance(module, Convolution)]
        prefix = dict(zip(numbers, layers, strict=False))
        kinds = {"weight": "conv.weight", "bias": "conv.bias", "prelu": "act.weight"}
        renamed = {}
        for name, value in published.items():
            number, _, kind = name.partition(".")
            renamed[f"{prefix.get(number, number)}.{kinds.get(kind, kind)}"] = value
        return renamed


class Convolution(nn.Module):
    """Convolution with bias, and PReLU if ``active``; padded as in TensorFlow: an odd pixel goes to the right and bottom."""

    def __init__(
        self,
        inputs: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        padded: bool = True,
        active: bool = True,
    ) -> None:
        super().__init__()
        # Sides are even wherever the stride is 2, so kernel - stride pixels must be added.
        padding = kernel - stride if padded else 0
        self.pad = nn.ZeroPad2d((0, padding % 2) * 2) if padding % 2 else nn.Identity()
        self.conv = nn.Conv2d(inputs, width, kernel, stride, padding=padding // 2, groups=groups)
        self.act = PReLU(width) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, width, H', W']."""
        return self.act(self.conv(self.pad(x)))


class Bottleneck(nn.Module):
    """Inverted residual block: expand, depthwise convolution, project; with ``shortcut`` added to its input."""

    def __init__(self, inputs: int, wide: int, width: int, stride: int, *, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.layers = nn.Sequential(
            Convolution(inputs, wide, 1),
            Convolution(wide, wide, 3, stride=stride, groups=wide),
            Convolution(wide, width, 1, active=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, width, H / stride, W / stride]."""
        projected = self.layers(x)
        return x + projected if self.shortcut else projected
