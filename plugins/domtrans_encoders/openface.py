"""OpenFace nn4.small2.v1 (Amos, Ludwiczuk, Satyanarayanan: OpenFace: A general-purpose face recognition library, 2016)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import Encoder, load_exactly, read_weights
from domtrans_encoders.published import required_path
from domtrans_encoders.window import Crop, Shift, Window


class OpenFace(Encoder):
    """f: OpenFace nn4.small2.v1, a small face recogniser: 128 features of length 1, or the 736 before them.

    Args:
        path: The published PyTorch file, ``openface.pth``.
        crop: Side of the part that the network sees, as a share of the image's side.
        shift: How far the part's centre lies below the image's centre, as a share of the side; above, if negative.
        features: "embedding" for the 128 features, or "pooled" for the 736.
    """

    channels = 3

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        path: str | None = None,
        crop: Crop = 0.5,
        shift: Shift = 0.02,
        features: Literal["embedding", "pooled"] = "embedding",
    ) -> None:
        super().__init__()
        self.path, self.features = path, features
        self.feature_size = 128 if features == "embedding" else 736
        self.window = Window((96, 96), crop=crop, shift=shift, mean=(0.0,) * 3, scale=(255.0,) * 3)
        # Layer numbers as in the published file; the missing ones have no weights.
        self.body = nn.ModuleDict(
            {
                "layer1": nn.Conv2d(3, 64, 7, 2, 3),
                "layer2": nn.BatchNorm2d(64),
                "layer3": nn.ReLU(),
                "layer4": nn.MaxPool2d(3, 2, 1),
                "layer5": _normalisation(),
                "layer6": nn.Conv2d(64, 64, 1),
                "layer7": nn.BatchNorm2d(64),
                "layer8": nn.ReLU(),
                "layer9": nn.Conv2d(64, 192, 3, padding=1),
                "layer10": nn.BatchNorm2d(192),
                "layer11": nn.ReLU(),
                "layer12": _normalisation(),
                "layer13": nn.MaxPool2d(3, 2, 1),
                "layer14": Inception(192, {3: (96, 128), 5: (16, 32)}, nn.MaxPool2d(3, 2), 32, 64),
                "layer15": Inception(256, {3: (96, 128), 5: (32, 64)}, nn.LPPool2d(2, 3), 64, 64),
                "layer16": Inception(320, {3: (128, 256), 5: (32, 64)}, nn.MaxPool2d(3, 2), None, None, stride=2),
                "layer17": Inception(640, {3: (96, 192), 5: (32, 64)}, nn.LPPool2d(2, 3), 128, 256),
                "layer18": Inception(640, {3: (160, 256), 5: (64, 128)}, nn.MaxPool2d(3, 2), None, None, stride=2),
                "layer19": Inception(1024, {3: (96, 384)}, nn.LPPool2d(2, 3), 96, 256),
                "layer21": Inception(736, {3: (96, 384)}, nn.MaxPool2d(3, 2), 96, 256),
                "layer22": nn.AvgPool2d(3, 1),
                "layer25": nn.Linear(736, 128),
            }
        )

    def load_pretrained(self) -> None:
        """Load the published weights; DomtransError if the file is missing or holds something else."""
        path = required_path(self.path, "openface", "openface.pth")
        load_exactly(self.body, read_weights(path), path, "OpenFace nn4.small2.v1")

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] to features [B, F]."""
        *layers, embed = self.body.values()
        x = self.window(images)
        for layer in layers:
            x = layer(x)
        pooled = x.flatten(1).float()
        return pooled if self.features == "pooled" else F.normalize(embed(pooled).float())


class Inception(nn.Module):
    """Inception block: parallel convolutions and pooling; smaller results are padded with zeros.

    Args:
        inputs: Input channels.
        convolved: For each kernel size, the widths of the 1 x 1 convolution before it and of the convolution itself.
        pool: The pooling layer.
        pooled: Width of the 1 x 1 convolution after the pooling; None: no convolution.
        direct: Width of a 1 x 1 convolution branch; None: no such branch.
        stride: Stride of the convolutions.
    """

    def __init__(
        self,
        inputs: int,
        convolved: dict[int, tuple[int, int]],
        pool: nn.Module,
        pooled: int | None,
        direct: int | None,
        *,
        stride: int = 1,
    ) -> None:
        super().__init__()
        branches = [
            _sequence(*_convolution(inputs, before, 1), *_convolution(before, width, kernel, stride))
            for kernel, (before, width) in convolved.items()
        ]
        branches.append(_sequence(pool, *(_convolution(inputs, pooled, 1) if pooled else ())))
        if direct:
            branches.append(_sequence(*_convolution(inputs, direct, 1)))
        self.seq_list = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, sum of widths, H', W'], with H' and W' of the largest branch."""
        results = [branch(x) for branch in self.seq_list]
        height, width = (max(result.shape[axis] for result in results) for axis in (2, 3))
        padded = []
        for result in results:
            down, right = height - result.shape[2], width - result.shape[3]
            padded.append(F.pad(result, (right // 2, right - right // 2, down // 2, down - down // 2)))
        return torch.cat(padded, 1)


def _normalisation() -> nn.Module:
    # The layer of the published port detaches its input and blocks the gradient; torch's computes the same function.
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)


def _convolution(inputs: int, width: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, width, kernel, stride, kernel // 2), nn.BatchNorm2d(width), nn.ReLU()


def _sequence(*layers: nn.Module) -> nn.Sequential:
    """Layers under their published names, e.g. ``1_conv``, ``2_bn``."""
    kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "bn", nn.ReLU: "relu"}
    named = nn.Sequential()
    for number, layer in enumerate(layers, 1):
        named.add_module(f"{number}_{kinds.get(type(layer), 'pool')}", layer)
    return named
