"""Image sets: uint8, in memory or in files. Networks get them as floats in [-1, 1]."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from domtrans.data.aspect import Aspect, square_tensor
from domtrans.data.axes import channels_first, set_axes
from domtrans.data.batches import evenly
from domtrans.data.classes import read_labels
from domtrans.data.engine import DrawingEngine
from domtrans.data.image_scan import SkippedFile
from domtrans.data.lazy_images import StoredImages
from domtrans.data.planes import MAX_CHANNELS
from domtrans.data.value_range import ValueRange, check_range, to_bytes
from domtrans.errors import DomtransError

Memory = Literal["auto", "yes", "no"]
"""Whether a domain loads its images into memory; see ``ImageSet.kept``."""

MAX_AUTO_MEMORY_BYTES = 2**30
"""Pixels that are loaded into memory with ``memory="auto"``: 87,000 RGB images of 64 x 64 pixels."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in grey (ITU-R BT.601)."""


@dataclass(frozen=True, eq=False)
class Attribute:
    """A property of every image, e.g. the hair colour.

    Args:
        values: Names of the possible values.
        index: int64 [N], the value of every image as an index into ``values``; -1 if it is unknown.
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
    """Images of one size, with labels and attributes if the domain has them.

    Args:
        pixels: uint8 [N, C, H, W], or StoredImages, which are decoded when needed. C is 1 (grey), 3 (RGB) or any other number
            up to 64, such as the bands of a satellite.
        labels: int64 [N] in 0..K-1, or None.
        classes: The K class names, empty without labels.
        about: One line for people that says what the data is.
        attributes: Further labels by name, e.g. "glasses", each with N values.
        notes: Sentences for people about what the domain skipped or lacks, e.g. "class 7 has no test images".
        engine: What drew the images from parameters, or None.
        parameters: int64 [N, S], the value of each of the engine's S slots as an index; -1 where it does not show. None if
            they are not known.
        shown: The channels that pictures of the images show: one as grey, or three as R, G and B, each from 0. Empty: all
            channels of grey and RGB images, the first three of others, or the first of two.
        skipped: What a folder of images holds besides them: for each reason the first file, and how many there are.
    """

    pixels: Tensor | StoredImages
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    about: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    engine: DrawingEngine | None = None
    parameters: Tensor | None = None
    shown: tuple[int, ...] = ()
    skipped: Mapping[SkippedFile, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, shape = len(self), list(self.shape)
        if self.pixels.dtype != torch.uint8 or len(shape) != 4 or not 1 <= shape[1] <= MAX_CHANNELS:
            raise DomtransError(f"images must be uint8 [N, 1 to {MAX_CHANNELS}, H, W], not {self.pixels.dtype} {shape}")
        if self.shown and (len(self.shown) not in (1, 3) or not 0 <= min(self.shown) <= max(self.shown) < shape[1]):
            raise DomtransError(f"shown must be 1 or 3 of the {shape[1]} channels, counted from 0, not {list(self.shown)}")
        if count == 0:
            raise DomtransError(f"an image set has no images{': ' + self.about if self.about else ''}")
        for name, attribute in self.attributes.items():
            if len(attribute.index) != count:
                raise DomtransError(f"there are {count} images but {len(attribute.index)} values of the attribute '{name}'")
        if self.parameters is not None:
            self._check_parameters(self.parameters)
        if self.labels is None:
            return
        if self.labels.dtype != torch.int64 or tuple(self.labels.shape) != (count,):
            raise DomtransError(
                f"labels must be int64 [{count}], one per image, not {self.labels.dtype} {list(self.labels.shape)}"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DomtransError(f"labels run from {low} to {high}, but there are {len(self.classes)} classes")

    def _check_parameters(self, parameters: Tensor) -> None:
        expected = (len(self), 0 if self.engine is None else len(self.engine.space.slots))
        if parameters.dtype != torch.int64 or tuple(parameters.shape) != expected:
            raise DomtransError(
                f"parameters must be int64 {list(expected)}, one for each image and slot of the engine, not "
                f"{parameters.dtype} {list(parameters.shape)}"
            )

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any = None,
        *,
        size: int,
        classes: Sequence[str] = (),
        about: str = "",
        aspect: Aspect = "crop",
        value_range: ValueRange | None = None,
        channels: int | None = None,
    ) -> ImageSet:
        """Make a set from numpy arrays or tensors, resized to ``size`` x ``size`` pixels.

        Args:
            images: [N, H, W], [N, H, W, 1 or 3] or [N, 1 or 3, H, W], of uint8, or of another type that is scaled to it. With
                ``channels``, [N, H, W, channels] or [N, channels, H, W].
            labels: Integers, whole floats, booleans or names, of shape [N], [N, 1] or [1, N]; None without labels.
            size: Side of the resized images in pixels.
            classes: Class names that integers index; by default those of ``read_labels``, e.g. "1" to "10" for labels 1 to 10.
            about: One line for people that says what the data is.
            aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or
                "squeeze".
            value_range: The values of black and white. None: 0 and 255 of uint8; of other types as detected, which a note says.
            channels: The number of channels, if the images are neither grey nor RGB.

        Raises:
            DomtransError: If a shape is another, or the values are in no clear range.
        """
        values = np.require(images.detach().cpu() if isinstance(images, Tensor) else images, requirements=["C", "W"])
        where, shape = f"array of images{f' ({about})' if about else ''}", list(values.shape)
        alpha = channels is None and len(shape) == 4 and {2, 4} & {shape[1], shape[3]}
        advice = "; composite an alpha channel first, or say how many channels there are: channels=N" if alpha else ""
        axes = set_axes(shape, (1, 3) if channels is None else (channels,), "images", advice)
        if 0 in shape:
            raise DomtransError(f"images of shape {shape} are empty{': ' + about if about else ''}")
        note = ""
        if values.dtype != np.uint8 or value_range is not None:
            stated = None if value_range is None else check_range(value_range, "value_range")
            values, note = to_bytes(values, where, stated, state="value_range=[black, white]")
        elif values.max() == 1:
            note = "all values are 0 or 1 of 255, which is nearly black; if 1 is white, set value_range=[0, 1]"
        pixels = channels_first(torch.as_tensor(values), axes)
        targets, names = (None, ()) if labels is None else read_labels(labels, len(pixels), classes, about)
        squares = square_tensor(pixels, size, aspect).contiguous()
        return cls(squares, targets, names, about, notes=(note,) if note else ())

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | Tensor:
        """Image ``index``, so that a set is a map-style data set for a torch ``DataLoader``.

        Returns:
            float32 [C, H, W] in [-1, 1], and its label; the image alone if the set has no labels.
        """
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"there are {len(self):,} images, and none with the index {position}")
        position %= len(self)
        image = to_float(self.batch(torch.tensor([position]))[0])
        return image if self.labels is None else (image, int(self.labels[position]))

    @property
    def shape(self) -> torch.Size:
        """[N, C, H, W]"""
        return self.pixels.shape

    @property
    def channels(self) -> int:
        """1 (grey), 3 (RGB) or another number."""
        return self.shape[1]

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are in memory. If not, ``Session.batch_loader`` decodes them in advance."""
        return isinstance(self.pixels, Tensor)

    @property
    def block(self) -> int:
        """Number of neighbouring images to read together; 1 if it does not matter."""
        return 1 if isinstance(self.pixels, Tensor) else self.pixels.block

    @property
    def damaged(self) -> int:
        """Images that could not be read so far and were replaced by others."""
        return 0 if isinstance(self.pixels, Tensor) else len(self.pixels.damage.errors)

    @property
    def images(self) -> Tensor:
        """The whole set, uint8 [N, C, H, W]. Raises DomtransError if it is in files and larger than 1 GiB."""
        if isinstance(self.pixels, Tensor):
            return self.pixels
        if self.shape.numel() > MAX_AUTO_MEMORY_BYTES:
            raise DomtransError(
                f"{self.about or 'an image set'} has {self.shape.numel() / 2**30:.1f} GiB of pixels, and a part of this recipe "
                "needs them all in memory; give the domain memory=yes, or use another part (own parts: see ImageSet.batch)"
            )
        return self.kept("yes").images

    def batch(self, index: Tensor) -> Tensor:
        """The images at ``index``, int64 [n]: uint8 [n, C, H, W] on the device of the set."""
        if isinstance(self.pixels, Tensor):
            return self.pixels[index.to(self.pixels.device)]
        return self.pixels.read(index, self.labels)

    def blocks(self, count: int = 512) -> Iterator[Tensor]:
        """All images in order, in blocks of uint8 [count, C, H, W]; the last may be shorter."""
        return (self.batch(index) for index in torch.arange(len(self)).split(count))

    def kept(self, memory: Memory) -> ImageSet:
        """The same set in memory ("yes"), in its files ("no"), or in memory up to 1 GiB of pixels ("auto")."""
        if self.in_memory or memory == "no" or (memory == "auto" and self.shape.numel() > MAX_AUTO_MEMORY_BYTES):
            return self
        pixels = torch.empty(self.shape, dtype=torch.uint8)
        for index in torch.arange(len(self)).split(512):
            pixels[index] = self.batch(index)
        return replace(self, pixels=pixels)

    def in_channels(self, channels: int) -> ImageSet:
        """The same set with another number of channels, as ``to_channels`` makes them, in memory.

        Raises:
            DomtransError: If the images have several channels, and others are wanted than one.
        """
        if channels == self.channels:
            return self
        pixels = torch.cat([to_channels(block.float(), channels).round().to(torch.uint8) for block in self.blocks()])
        return replace(self, pixels=pixels.contiguous(), shown=())

    def unlabelled(self) -> ImageSet:
        """The same images without labels, attributes and parameters. They keep their engine."""
        return replace(self, labels=None, classes=(), attributes={}, parameters=None)

    def take(self, index: Tensor) -> ImageSet:
        """The subset at ``index``, int64 [n], with its labels, attributes and parameters. Images in files stay there."""
        index = index.to(self.pixels.device)
        pixels = self.pixels[index] if isinstance(self.pixels, Tensor) else self.pixels.take(index)
        labels = None if self.labels is None else self.labels[index]
        attributes = {name: Attribute(known.values, known.index[index]) for name, known in self.attributes.items()}
        parameters = None if self.parameters is None else self.parameters[index]
        return replace(self, pixels=pixels, labels=labels, attributes=attributes, parameters=parameters)

    def some(self, count: int) -> ImageSet:
        """At most ``count`` images in memory, without labels. They are spread evenly, so sorted classes all occur."""
        pixels = self.batch(evenly(len(self), count))
        return replace(self.unlabelled(), pixels=pixels)

    def to(self, device: torch.device) -> ImageSet:
        """The same set on a device. Images in files go there once they are decoded."""
        labels = None if self.labels is None else self.labels.to(device)
        attributes = {name: Attribute(known.values, known.index.to(device)) for name, known in self.attributes.items()}
        parameters = None if self.parameters is None else self.parameters.to(device)
        return replace(self, pixels=self.pixels.to(device), labels=labels, attributes=attributes, parameters=parameters)

    def fingerprint(self) -> str:
        """SHA-256 over images, labels and attributes, 16 hex digits. Equal data has equal fingerprints.

        For images in files, it covers the names and sizes of all and the bytes of a sample. It leaves out parameters, which
        follow from images and engine, so that a domain that gains an engine keeps its fingerprint.
        """
        digest = hashlib.sha256(repr((tuple(self.shape), self.classes)).encode())
        if isinstance(self.pixels, Tensor):
            digest.update(self.pixels.cpu().contiguous().numpy().tobytes())
        else:
            digest.update(self.pixels.fingerprint().encode())
        if self.labels is not None:
            digest.update(self.labels.cpu().numpy().tobytes())
        for name, attribute in sorted(self.attributes.items()):
            digest.update(repr((name, attribute.values)).encode() + attribute.index.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def inference_batches(count: int, device: torch.device) -> tuple[Tensor, ...]:
    """Indices of ``count`` images, int64 [n] each, in the batch size that suits a network without gradients."""
    # Larger batches do not fit a CPU's caches, and above about 32 MB glibc allocates and frees the buffer for every layer:
    # encoders took 1.5 to 3 times as long with 512 images.
    return torch.arange(count).split(64 if device.type == "cpu" else 512)


def to_float(images: Tensor) -> Tensor:
    """uint8 [..., H, W] to float32 in [-1, 1]; a batch [B, C, H, W] in channels-last memory format."""
    floats = images.to(torch.float32).div_(127.5).sub_(1.0)
    return floats.contiguous(memory_format=torch.channels_last) if floats.ndim == 4 else floats


def to_uint8(images: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8, rounded and clipped."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def to_channels(images: Tensor, channels: int) -> Tensor:
    """[B, C, H, W] to [B, channels, H, W]. Differentiable, any value range.

    Grey becomes any number of channels by repetition. RGB becomes grey by luma, and other images by the mean of their channels.

    Raises:
        DomtransError: For any other pair of numbers.
    """
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    if channels != 1:
        raise DomtransError(
            f"images have {images.shape[1]} channels, where {channels} are needed; source, target and f must have as many, "
            "or one channel (encoder.channels sets those of f for map-encoder)"
        )
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = torch.tensor(LUMA, dtype=images.dtype).to(images.device, non_blocking=True).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)
