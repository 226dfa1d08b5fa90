"""The four base classes of domtrans, and the record that a loss reads.

Images are float [B, C, H, W] in [-1, 1] everywhere. Features are float vectors [B, F], or maps [B, C, h, w] of an f that
keeps the layout of the image; they are standardised over the source set, maps by channel.
The symbols f, g, D and G(x) = g(f(x)) are those of Taigman, Polyak, Wolf: Unsupervised Cross-Domain Image Generation,
ICLR 2017 ("the paper").
"""

from __future__ import annotations

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from domtrans.errors import DomtransError
from domtrans.registry.parts import PartOf

Distance = Callable[..., Tensor]
"""(a, b, classify=None) -> scalar: the distance between two batches of features or images."""

DistanceOption = Annotated[Any, PartOf("distance")]
"""Annotation of a constructor option that takes a distance by name."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""(images, rng) -> images of the same shape and range. Differentiable; all randomness comes from ``rng``."""

AugmentationOption = Annotated[Any, PartOf("augmentation")]
"""Annotation of an option that takes an augmentation by name."""


class AdaptiveAugmentation(nn.Module, ABC):
    """An augmentation of D's images that adapts to D: a ``discriminator_view`` with a state. Built as ``cls(**options)``.

    Its state is its buffers. Checkpoints keep them, and several processes average them after every step.
    """

    @abstractmethod
    def forward(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """(images, rng) -> images, like any augmentation."""

    @abstractmethod
    def observe(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """Adapt to what D says. Called after each update of D.

        Args:
            outputs: D's logits of the batch; all other fields are None.

        Returns:
            Scalars for the log, e.g. "strength", which is logged as "discriminator_view.strength".
        """


EncoderOption = Annotated[Any, PartOf("encoder")]
"""Annotation of an option that takes an encoder by name. The part gets a function (size, classes) -> Encoder."""

DomainOption = Annotated[Any, PartOf("domain")]
"""Annotation of an option that takes a domain by name. The part gets a function (split, size) -> ImageSet."""

FitOption = Annotated[Any, PartOf("fit")]
"""Annotation of an option that takes a fit by name. The part gets a function (encoder, source, session[, target])."""


Heads = Mapping[str, Sequence[str] | int]
"""The heads of an encoder by name: the values that each predicts, or how many there are."""


class Encoder(nn.Module, ABC):
    """f: images to features. Built as ``cls(size, classes, **options)``.

    ``size`` is the side of the images in pixels, ``classes`` the number of labeled source classes (0: no labels).
    f is fixed while g learns, but L_CONST (equation 5 of the paper) differentiates through it: never detach in ``forward``.
    """

    channels: int
    """The channels that ``forward`` takes: 1 (grey), 3 (RGB) or another number. The engine converts grey and RGB."""
    sizes: ClassVar[Sequence[int] | None] = None
    """The image sizes that it supports, such as ``(32,)`` or ``range(32, 1025)``; None: any."""

    gives_maps: ClassVar[bool] = False
    """True: f gives maps whatever its options are. domtrans then suggests it only beside a g that reads maps."""

    @cached_property
    def feature_size(self) -> int:
        """F: length of a feature vector. An encoder of vectors declares it as a class or instance attribute.

        Raises:
            DomtransError: For an encoder of maps, which has none.
        """
        raise DomtransError(
            f"the encoder {type(self).__name__} gives no feature vectors (it declares no feature_size); where vectors are "
            "needed, choose an encoder that gives some"
        )

    @cached_property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of the features of one image: ``(F,)``. An encoder of maps declares ``(C, h, w)`` as an attribute instead."""
        return (self.feature_size,)

    @cached_property
    def heads(self) -> Heads:
        """What f predicts, by name. Declare it as a class or instance attribute.

        A classifier of the source's classes has the head ``{"class": classes}``. Any other head predicts the attribute of
        its name. Empty: no head. An encoder that defines ``logits`` and declares no heads counts as a classifier.
        """
        return _heads_of_classifier(self)

    @property
    def members(self) -> Sequence[Encoder]:
        """The encoders of an ensemble, which the fit ``each`` fits one by one; by default the encoder itself."""
        return (self,)

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, H, W] in [-1, 1] to raw features [B, F], or maps [B, C, h, w]."""

    def load_pretrained(self) -> None:
        """Load published weights, for an encoder that starts from some. Called once, before f is fitted.

        Not called where the weights of f come from a file: when a run is loaded, or with ``encoder.weights``.

        Raises:
            DomtransError: If the weights cannot be loaded.
        """

    def fixed(self, images: Tensor) -> Tensor:
        """The output of the layers that no fit changes, for an encoder whose fit trains heads only.

        The fit ``probe`` calls it once per image and trains on the result. Override it together with ``read``.

        Args:
            images: [B, channels, H, W] in [-1, 1].

        Returns:
            [B, ...]; by default the images themselves.
        """
        return images

    def read(self, found: Tensor) -> Tensor:
        """The output of ``fixed`` to raw features [B, F]: ``forward(images)`` equals ``read(fixed(images))``."""
        return self(found)

    def logits(self, features: Tensor) -> Tensor:
        """Raw features, as ``forward`` returns them, to the logits [B, K] of all ``heads`` side by side.

        Raises:
            DomtransError: If f has no head.
        """
        raise DomtransError(
            f"the encoder {type(self).__name__} has no classification head: distances and options that compare "
            "predictions need one; choose another encoder or a distance on features such as 'mse' or 'cosine'"
        )


def head_sizes(heads: Heads) -> list[int]:
    """The number of logits of each head."""
    return [values if isinstance(values, int) else len(values) for values in heads.values()]


@dataclass(frozen=True)
class Classifier:
    """f's own heads as losses and distances call them: standardised features to the logits of all heads side by side [B, K]."""

    logits: Callable[[Tensor], Tensor]
    head_sizes: tuple[int, ...]
    """The number of logits of each head."""

    def __call__(self, features: Tensor) -> Tensor:
        """Standardised features [B, F], or maps [B, C, h, w], to logits [B, K]."""
        return self.logits(features)


def _heads_of_classifier(encoder: Encoder) -> Heads:
    """The heads of an encoder that declares none: what ``logits`` returns for one image is the head of its classes."""
    if type(encoder).logits is Encoder.logits:
        return {}
    modes = {module: module.training for module in encoder.modules()}
    device = next((tensor.device for tensor in itertools.chain(encoder.parameters(), encoder.buffers())), None)
    try:
        with torch.no_grad():  # in eval mode, so that no layer draws a random number or updates its statistics
            return {"class": encoder.eval().logits(torch.zeros(1, *encoder.feature_shape, device=device)).shape[-1]}
    except DomtransError:
        return {}
    finally:
        for module, mode in modes.items():
            module.training = mode


_NO_PARAMETERS = "the generator {} draws pixels and has no parameters; choose one that draws by parameters"


class Generator(nn.Module, ABC):
    """g: features to target images. Built as ``cls(feature_size, channels, size, **options)``.

    A g of maps is built as ``cls(feature_shape, channels, size, **options)``, with the ``(C, h, w)`` of f's maps.
    """

    reads_maps: ClassVar[bool] = False
    """True: g reads feature maps [B, C, h, w], so that the layout of x can reach G(x). False: g reads vectors [B, F]."""
    reads_images: ClassVar[bool] = False
    """True: G does not contain f (an ablation of the paper). ``forward`` then gets x itself, RGB [B, 3, size, size]."""
    sizes: ClassVar[Sequence[int] | None] = None
    """The image sizes that it supports, such as ``(32,)`` or ``range(32, 1025)``; None: any."""
    drawn_size: int | None = None
    """The side of the images that it draws before it resizes them to the image size; None: the image size itself."""

    draws_by_parameters: ClassVar[bool] = False
    """True: g draws by the parameters of the target's engine, and has ``parameter_logits`` and ``parameter_indices``. It is
    built with a fourth argument, ``engine``, the target's DrawingEngine or None. Final images are the engine's own drawings."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Standardised features [B, F], or maps [B, C, h, w], to images [B, channels, size, size] in [-1, 1]."""

    def prepare(self, target: Any, session: Any) -> None:
        """Fit parts of g that training leaves as they are. Called once, before training, in the main process.

        Not called where the weights of g come from a file: when a run is loaded. A resumed run calls it, too, and then loads
        its weights, so what takes long belongs into ``session.cache``.

        Args:
            target: Target training images, an ImageSet without labels. If g draws by parameters, it has those of the drawings.
            session: Device, cache and random numbers, a Session.
        """

    def parameter_logits(self, features: Tensor) -> Sequence[Tensor]:
        """Standardised features [B, F] to the logits [B, n] of every slot of the engine, float32.

        Raises:
            DomtransError: If g does not draw by parameters.
        """
        raise DomtransError(_NO_PARAMETERS.format(type(self).__name__))

    def parameter_indices(self, features: Tensor) -> Tensor:
        """Standardised features [B, F] to parameters of the engine: int64 [B, S], the index of every slot's value.

        Raises:
            DomtransError: If g does not draw by parameters.
        """
        raise DomtransError(_NO_PARAMETERS.format(type(self).__name__))


class Discriminator(nn.Module, ABC):
    """D: ternary discriminator of target images. Built as ``cls(channels, size, **options)``."""

    FAKE_SOURCE: ClassVar[int] = 0
    """Index of the logit of D_1 of the paper: the image is G(x_s)."""
    FAKE_TARGET: ClassVar[int] = 1
    """Index of D_2: the image is G(x_t)."""
    REAL_TARGET: ClassVar[int] = 2
    """Index of D_3: the image is a real target image."""
    real_logits: ClassVar[tuple[int, ...]] = (REAL_TARGET,)
    """The logits that mean "real"; all others mean "generated". The health checks read it."""

    sizes: ClassVar[Sequence[int] | None] = None
    """The image sizes that it supports, such as ``(32,)`` or ``range(32, 1025)``; None: any."""

    compares_images: bool = False
    """True: the logits of an image depend on the other images of its batch, so each kind of image gets a batch of its own. A D
    with batch norm need not say so."""

    condition_classes: int = 0
    """K of a class-conditional D, whose ``forward(images, classes=None)`` also gets a condition, one-hot [B, K]. 0: none.

    The condition is the class that f's own head predicts for the x that an image is made from, or for a real target image.
    No label is used. With an f that predicts attributes it has one value of each, and K is the number of all values.
    """

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images [B, channels, size, size] in [-1, 1] to logits [B, 3].

        A D that judges patches returns [B, 3, h, w], the logits of every patch. Losses then get one row for each patch,
        [B * h * w, 3], so that a mean over rows is a mean over images and patches (Isola et al.: Image-to-Image Translation
        with Conditional Adversarial Networks, CVPR 2017, section 3.2.2).
        """

    def condition(self, logits: Tensor, classes: Tensor | None) -> Tensor:
        """Sum the logits of any image and those of its classes: a projection in the manner of Miyato and Koyama, 2018.

        Args:
            logits: [B, 1 + K, 3]: the logits of any image, then what each class adds to them; or [B, 1 + K, 3, h, w].
            classes: The condition [B, K]; None: no class.

        Returns:
            Logits [B, 3], or [B, 3, h, w].
        """
        selected = logits.new_zeros(len(logits), self.condition_classes) if classes is None else classes
        weights = torch.cat([logits.new_ones(len(logits), 1), selected], 1)
        return (logits * weights[(..., *[None] * (logits.ndim - 2))]).sum(1)

    # Names of version 0.1, for plugins that were written for it.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "reads_classes" in vars(cls):
            _deprecated(f"{cls.__name__}.reads_classes", "condition_classes")
            cls.condition_classes = vars(cls)["reads_classes"]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "reads_classes":
            _deprecated(f"{type(self).__name__}.reads_classes", name := "condition_classes")
        super().__setattr__(name, value)

    def told(self, logits: Tensor, classes: Tensor | None) -> Tensor:
        """Deprecated name of ``condition``."""
        _deprecated(f"{type(self).__name__}.told", "condition")
        return self.condition(logits, classes)


@dataclass(frozen=True)
class Outputs:
    """What an update computed. A loss declares the fields that it reads; a field that no loss reads stays None.

    With ``train.updates=separate`` an update has one domain only, and the fields of the other domain are None.
    """

    source: Tensor | None = None
    """x_s [B, C, H, W]"""
    target: Tensor | None = None
    """x_t [B, C, H, W]"""
    source_features: Tensor | None = None
    """f(x_s) [B, F], or maps [B, C, h, w], like the other features"""
    target_features: Tensor | None = None
    """f(x_t) [B, F]"""
    source_fake: Tensor | None = None
    """G(x_s) = g(f(x_s)) [B, C, H, W]"""
    target_fake: Tensor | None = None
    """G(x_t) [B, C, H, W]"""
    source_second_fake: Tensor | None = None
    """G(x_s) with another z [B, C, H, W], of a g that reads noise; only in the losses of g"""
    source_fake_features: Tensor | None = None
    """f(G(x_s)) [B, F], through the recipe's ``view`` if it has one"""
    target_fake_features: Tensor | None = None
    """f(G(x_t)) [B, F], likewise"""
    source_fake_logits: Tensor | None = None
    """D(G(x_s)) [B, 3]; a D that judges P patches of an image gives [B * P, 3], like its other logits"""
    target_fake_logits: Tensor | None = None
    """D(G(x_t)) [B, 3]"""
    target_logits: Tensor | None = None
    """D(x_t) [B, 3]"""
    source_fake_parameters: Sequence[Tensor] | None = None
    """Logits [B, n] of every slot of G(x_s), of a g that draws by parameters"""
    target_fake_parameters: Sequence[Tensor] | None = None
    """Logits [B, n] of every slot of G(x_t), likewise"""
    target_parameters: Tensor | None = None
    """int64 [B, S]: what an engine drew x_t with; -1 where a slot does not show. Only for a loss that declares it; the results
    then say "target parameters"."""
    source_labels: Tensor | None = None
    """int64 [B], only for a loss that declares it; the results then say "source labels"."""
    source_classes: tuple[str, ...] | None = None
    """The names that ``source_labels`` index. Another domain may have other classes, so a loss compares names."""
    discriminate: Callable[[Tensor, str], Tensor] | None = None
    """D itself, for a loss that needs its gradient with respect to images, or its logits of other images: (images
    [B, C, H, W], the domain of the x that they belong to, "source" or "target") -> logits [B, 3], or [B * P, 3]"""
    classify: Callable[[Tensor], Tensor] | None = None
    """f's own heads: standardised features -> the logits of all heads side by side [B, K]. Its attribute ``head_sizes`` has the
    number of logits of each head; a function without it counts as one head."""
    align: Callable[[Tensor], Tensor] | None = None
    """Features of target images -> features like the source's. Only with ``align_features=true``"""


OUTPUT_FIELDS = frozenset(field.name for field in fields(Outputs))

FUNCTION_FIELDS = frozenset({"align", "classify", "discriminate"})
"""The fields of Outputs that are functions. They belong to no domain."""

PARAMETER_FIELDS = frozenset({"source_fake_parameters", "target_fake_parameters", "target_parameters"})
"""The fields of Outputs for a g that draws by parameters."""


class Loss(nn.Module, ABC):
    """A term of L_G or L_D. Built as ``cls(**options)``; weight and schedule belong to the recipe."""

    reads: frozenset[str]
    """The fields of Outputs that ``forward`` uses, as a class attribute or set in ``__init__``."""

    @abstractmethod
    def forward(self, outputs: Outputs) -> Tensor:
        """The loss, a scalar. It must not change the record, step an optimizer, or change the state of the loss."""

    def observe(self, outputs: Outputs) -> None:
        """Update the buffers of a loss that has a state, such as a moving average. By default, nothing.

        Called after each update of D in which the loss counts, for a loss among ``discriminator_losses``. Checkpoints keep
        the buffers, and several processes average them after every step.

        Args:
            outputs: D's logits of the batch; all other fields are None.
        """


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is now called {new}; the old name will go in a later version", DeprecationWarning, stacklevel=3)
