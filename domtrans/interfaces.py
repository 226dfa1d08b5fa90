"""The four base classes of domtrans and the record that a loss reads.

Images are float B C H W in [-1, 1] everywhere. Features are float B F, standardised over the source set.
The symbols f, g, D, G = g(f(x)) are those of Taigman, Polyak, Wolf: Unsupervised Cross-Domain Image
Generation, ICLR 2017 ("the paper").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from domtrans.errors import DomtransError
from domtrans.registry.parts import PartOf

Distance = Callable[..., Tensor]
"""(a, b, classify=None) -> scalar: how far apart two batches of features or images are."""

DistanceOption = Annotated[Any, PartOf("distance")]
"""Annotation of a constructor option that takes a distance by name."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""(images, rng) -> images of the same shape and range; differentiable; all randomness comes from ``rng``."""

AugmentationOption = Annotated[Any, PartOf("augmentation")]
"""Annotation of an option that takes an augmentation by name."""

EncoderOption = Annotated[Any, PartOf("encoder")]
"""Annotation of an option that takes an encoder by name; it arrives as a function (size, classes) -> Encoder."""

DomainOption = Annotated[Any, PartOf("domain")]
"""Annotation of an option that takes a domain by name; it arrives as a function (split, size) -> ImageSet."""


class Encoder(nn.Module, ABC):
    """f: images to features. Built as ``cls(size, classes, **options)``.

    ``size`` is the side of the images in pixels, ``classes`` the number of labelled source classes (0: unlabelled).
    f is fixed while g learns, but the const loss differentiates through it: never detach inside ``forward``.
    """

    channels: int
    """1 (grey) or 3 (RGB): what ``forward`` takes; the engine converts."""
    feature_size: int
    """F: length of a feature vector."""
    heads: Mapping[str, Sequence[str]] = MappingProxyType({})
    """The attributes that f tells, by name, each with its values; ``logits`` has theirs side by side. Empty: a class."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] in [-1, 1] to raw features [B, F]."""

    def load_pretrained(self) -> None:
        """Load published weights, for an encoder that begins from some; called once before f is fitted.

        Not called where f's weights come from a file: when a run is loaded, or with ``encoder.weights``.
        Raises DomtransError if they cannot be had.
        """

    def fixed(self, images: Tensor) -> Tensor:
        """What no fit changes of how f sees images [B, channels, H, W]: what its fixed layers give, [B, ...]; or the images."""
        return images

    def read(self, found: Tensor) -> Tensor:
        """What ``fixed`` gives to raw features [B, F]: ``forward(images)`` is ``read(fixed(images))``."""
        return self(found)

    def logits(self, features: Tensor) -> Tensor:
        """Raw features [B, F] to class logits [B, K], for an encoder with a classification head.

        Raises DomtransError where f has none.
        """
        raise DomtransError(
            f"the encoder {type(self).__name__} has no classification head: distances and options that compare "
            "predictions need one; choose another encoder or a distance on features such as 'mse' or 'cosine'"
        )


class Generator(nn.Module, ABC):
    """g: features to target images. Built as ``cls(feature_size, channels, size, **options)``."""

    reads_images: ClassVar[bool] = False
    """True: G does not contain f (an ablation of the paper's): ``forward`` gets x itself, RGB [B, 3, size, size]."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Standardised features [B, F] to images [B, channels, size, size] in [-1, 1]."""


class Discriminator(nn.Module, ABC):
    """D: ternary judge of target images. Built as ``cls(channels, size, **options)``."""

    FAKE_SOURCE: ClassVar[int] = 0
    """D_1 of the paper: the image is G(source)."""
    FAKE_TARGET: ClassVar[int] = 1
    """D_2: the image is G(target)."""
    REAL_TARGET: ClassVar[int] = 2
    """D_3: the image is a real target image."""

    reads_classes: int = 0
    """K: ``forward(images, classes=None)`` also gets what f's own head, of K classes, sees in each x: one-hot [B, K]. 0: not.

    No label takes part: of G(x) it is what f says of x, of a real target image what f says of that. An f that tells
    attributes says one thing of each, and K is the number of all their values.
    """

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] in [-1, 1] to logits [B, 3]."""

    def told(self, logits: Tensor, classes: Tensor | None) -> Tensor:
        """Logits [B, 1 + K, 3], what holds for any image and what each class adds, to [B, 3] of images of these classes."""
        told = logits.new_zeros(len(logits), self.reads_classes) if classes is None else classes
        weights = torch.cat([logits.new_ones(len(logits), 1), told], 1)
        return (logits * weights.unsqueeze(2)).sum(1)


@dataclass(frozen=True)
class Outputs:
    """What one turn computed. A loss names the fields it reads; what no loss reads is not computed and stays None.

    In separate updates the fields of the other domain are None too: a loss leaves out what is not there.
    """

    source: Tensor | None = None
    """x_s [B, C, H, W]"""
    target: Tensor | None = None
    """x_t [B, C, H, W]"""
    source_features: Tensor | None = None
    """f(x_s) [B, F]"""
    target_features: Tensor | None = None
    """f(x_t) [B, F]"""
    source_fake: Tensor | None = None
    """G(x_s) = g(f(x_s)) [B, C, H, W]"""
    target_fake: Tensor | None = None
    """G(x_t) [B, C, H, W]"""
    source_fake_features: Tensor | None = None
    """f(G(x_s)) [B, F], through the recipe's ``view`` if it has one"""
    target_fake_features: Tensor | None = None
    """f(G(x_t)) [B, F], likewise"""
    source_fake_logits: Tensor | None = None
    """D(G(x_s)) [B, 3]"""
    target_fake_logits: Tensor | None = None
    """D(G(x_t)) [B, 3]"""
    target_logits: Tensor | None = None
    """D(x_t) [B, 3]"""
    source_labels: Tensor | None = None
    """int64 [B], for a loss that says it reads them, and None for any other; the results say "source labels" then."""
    classify: Callable[[Tensor], Tensor] | None = None
    """f's own head: standardised features [B, F] -> class logits [B, K]"""


OUTPUT_FIELDS = frozenset(field.name for field in fields(Outputs))


class Loss(nn.Module, ABC):
    """A term of L_G or L_D. Built as ``cls(**options)``; weights and schedules belong to the recipe."""

    reads: frozenset[str]
    """The fields of Outputs that ``forward`` uses, as a class attribute or set in ``__init__``."""

    @abstractmethod
    def forward(self, outputs: Outputs) -> Tensor:
        """The loss as a scalar; never steps an optimizer, never changes the record."""
