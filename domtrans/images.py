"""Sets of images: uint8 in memory, float in [-1, 1] where networks see them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.errors import DomtransError

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G, B in grey."""


@dataclass(frozen=True, eq=False)
class Attribute:
    """One property of every image, e.g. its hair colour.

    ``values``: the names it can take. ``index``: int64 [N] into ``values``; -1 where it is not known.
    """

    values: tuple[str, ...]
    index: Tensor

    def __post_init__(self) -> None:
        if self.index.dtype != torch.int64 or self.index.ndim != 1:
            raise DomtransError(f"an attribute's index must be int64 [N], not {self.index.dtype} {list(self.index.shape)}")
        if len(self.index) and not -1 <= int(self.index.min()) <= int(self.index.max()) < len(self.values):
            raise DomtransError(f"an attribute's index must be -1 (unknown) or below {len(self.values)}, its number of values")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size, and their labels where the domain has them.

    ``images``: uint8 [N, C, H, W], C 1 (grey) or 3 (RGB). ``labels``: int64 [N] in 0..K-1, or None.
    ``classes``: the K names, empty without labels. ``about``: one line for people, saying what the data is.
    ``attributes``: labels beside the class, by name, e.g. "glasses"; each of N images.
    """

    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    about: str = field(default="", compare=False)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] not in (1, 3):
            raise DomtransError(f"images must be uint8 [N, 1 or 3, H, W], not {self.images.dtype} {list(shape)}")
        if shape[0] == 0:
            raise DomtransError(f"an image set has no images{': ' + self.about if self.about else ''}")
        for name, attribute in self.attributes.items():
            if len(attribute.index) != shape[0]:
                raise DomtransError(f"there are {shape[0]} images but {len(attribute.index)} values of the attribute '{name}'")
        if self.labels is None:
            return
        if self.labels.dtype != torch.int64 or tuple(self.labels.shape) != (shape[0],):
            raise DomtransError(
                f"labels must be int64 [{shape[0]}], one an image, not {self.labels.dtype} {list(self.labels.shape)}"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DomtransError(f"labels run from {low} to {high}, but there are {len(self.classes)} classes")

    @classmethod
    def from_arrays(
        cls, images: Any, labels: Any = None, *, size: int, classes: Sequence[str] = (), about: str = ""
    ) -> ImageSet:
        """From numpy arrays or tensors, resized to ``size`` x ``size`` pixels.

        ``images``: uint8 [N, H, W], [N, H, W, 1 or 3] or [N, 1 or 3, H, W]. ``labels``: integers [N].
        ``classes`` defaults to "0", "1", ... up to the largest label.
        Raises DomtransError for other shapes or types.
        """
        pixels = torch.as_tensor(np.ascontiguousarray(images))
        if pixels.dtype != torch.uint8 or pixels.ndim not in (3, 4):
            raise DomtransError(f"images must be uint8 [N, H, W] or [N, H, W, C], not {pixels.dtype} {list(pixels.shape)}")
        if pixels.ndim == 3:
            pixels = pixels[:, None]
        elif pixels.shape[-1] in (1, 3):
            pixels = pixels.permute(0, 3, 1, 2)
        if 0 in pixels.shape:
            raise DomtransError(f"images of shape {list(pixels.shape)} hold nothing{': ' + about if about else ''}")
        targets = None
        if labels is not None:
            values = np.asarray(labels)
            if values.dtype.kind not in "iu" or values.ndim != 1:
                raise DomtransError(f"labels must be integers [N], not {values.dtype} {list(values.shape)}")
            targets = torch.as_tensor(values.astype(np.int64))
            if len(targets) != len(pixels):
                raise DomtransError(f"there are {len(pixels)} images but {len(targets)} labels{': ' + about if about else ''}")
            classes = tuple(classes) or tuple(str(k) for k in range(int(targets.max()) + 1))
        return cls(resize(pixels, size).contiguous(), targets, tuple(classes) if targets is not None else (), about)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.images.shape[1]

    def unlabelled(self) -> ImageSet:
        """The same images without their labels and attributes."""
        return ImageSet(self.images, about=self.about)

    def take(self, index: Tensor) -> ImageSet:
        """The images at ``index``, int64 [n], with their labels and attributes."""
        index = index.to(self.images.device)
        labels = None if self.labels is None else self.labels[index]
        attributes = {name: Attribute(of.values, of.index[index]) for name, of in self.attributes.items()}
        return ImageSet(self.images[index], labels, self.classes, self.about, attributes)

    def some(self, count: int) -> ImageSet:
        """At most ``count`` of the images, unlabelled, evenly over the set, so that sorted classes all show."""
        index = torch.linspace(0, len(self) - 1, min(count, len(self))).long()
        return ImageSet(self.images[index.to(self.images.device)], about=self.about)

    def to(self, device: torch.device) -> ImageSet:
        """The same set held on a device."""
        labels = None if self.labels is None else self.labels.to(device)
        attributes = {name: Attribute(of.values, of.index.to(device)) for name, of in self.attributes.items()}
        return ImageSet(self.images.to(device), labels, self.classes, self.about, attributes)

    def fingerprint(self) -> str:
        """SHA-256 over images, labels and attributes, 16 hex digits: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        digest.update(self.images.cpu().contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.cpu().numpy().tobytes())
        for name, attribute in sorted(self.attributes.items()):
            digest.update(repr((name, attribute.values)).encode() + attribute.index.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def to_float(images: Tensor) -> Tensor:
    """uint8 [..., H, W] to float32 in [-1, 1], channels last where there are four dimensions."""
    floats = images.to(torch.float32).div_(127.5).sub_(1.0)
    return floats.contiguous(memory_format=torch.channels_last) if floats.ndim == 4 else floats


def to_uint8(images: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8, rounded and clipped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Grey to RGB by repetition, RGB to grey by luma; differentiable, any range. [B, C, H, W] to [B, channels, H, W]."""
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def centre_square(images: Tensor, size: int) -> Tensor:
    """The centre squares of images [B, C, H, W], float or uint8, resized to [B, C, size, size]."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side]
    if square.dtype == torch.uint8:
        return resize(square, size)
    return square if side == size else F.interpolate(square, (size, size), mode="bilinear", antialias=True)


def resize(images: Tensor, size: int) -> Tensor:
    """uint8 [N, C, H, W] to [N, C, size, size], bilinear with antialiasing, a block at a time to bound memory."""
    if tuple(images.shape[-2:]) == (size, size):
        return images
    blocks = [
        F.interpolate(block.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        for block in images.split(1024)
    ]
    return torch.cat([block.round_().clamp_(0, 255).to(torch.uint8) for block in blocks])
