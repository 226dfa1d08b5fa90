"""A stronger f for digits: a wide residual network (Zagoruyko and Komodakis 2016) for 32 x 32 pixels."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import Encoder
from domtrans_digits.networks.dtn import SIZE


class Block(nn.Module):
    """Pre-activation residual block: two 3 x 3 convolutions, each after batch norm and ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if before != after or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] to [B, after, H / stride, W / stride]."""
        activated = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return shortcut + self.conv2(F.relu(self.norm2(self.conv1(activated))))


class DigitResNet(Encoder):
    """f: a wide residual network (Zagoruyko and Komodakis 2016) with average-pooled features and a linear head.

    Three stages, at 32, 16 and 8 pixels. Width 4 and depth 2 are WRN-16-4. There are 64 * ``width`` * ``cells``^2 features.

    Args:
        width: The stages have 16, 32 and 64 times ``width`` channels.
        depth: Residual blocks per stage.
        stride: Stride of the first convolution. 1, as in the paper; 2: the stages are at 16, 8 and 4 pixels, which takes a
            quarter of the time. The first convolution is then 4 x 4 with as many channels as the first stage.
        cells: Features are averaged over ``cells`` x ``cells`` parts of the image. More than 1 keeps where the strokes are, so
            that g can draw a class in different ways. The head averages them, so its predictions stay the same.
        dropout: Share of the features dropped before the head while f is fitted.
    """

    channels = 3
    sizes = (SIZE,)

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        width: Annotated[int, Field(ge=1, le=16)] = 4,
        depth: Annotated[int, Field(ge=1, le=12)] = 2,
        stride: Literal[1, 2] = 1,
        cells: Annotated[int, Field(ge=1, le=4)] = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.heads = {"class": classes} if classes > 1 else {}
        self.cells, self.feature_size = cells, 64 * width * cells**2
        before, kernel = (16, 3) if stride == 1 else (16 * width, 4)
        layers: list[nn.Module] = [nn.Conv2d(3, before, kernel, stride, 1, bias=False)]
        for stage in range(3):
            after = 16 * width * 2**stage
            for block in range(depth):
                layers.append(Block(before, after, stride=2 if stage and not block else 1))
                before = after
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(cells), nn.Flatten())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, max(classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, 32, 32] to features [B, 64 * width * cells^2], non-negative."""
        return self.layers(images)

    def logits(self, features: Tensor) -> Tensor:
        """Features [B, 64 * width * cells^2] to class logits [B, K]; DomtransError for an f of fewer than two classes."""
        if not self.heads:
            return super().logits(features)
        return self.head(self.dropout(features.unflatten(1, (-1, self.cells**2)).mean(2)))
