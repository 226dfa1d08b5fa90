"""The metric ``image-realism``, for images without labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from domtrans import (
    Augmentation,
    AugmentationOption,
    Encoder,
    EncoderOption,
    Evaluator,
    ImageSet,
    MetricInput,
    NotMeasurableError,
    Session,
    fit_evaluator,
    frechet_distance,
    kernel_distance,
    precision_and_recall,
    predict,
    spread,
    to_channels,
)

MIN_IMAGES = 10
"""Images of both sets below which distances between them mean nothing."""
TURNS = 4
"""Quarter turns that the network tells apart."""
MILD_VIEW = {"name": "warp", "rotate": 0.1, "scale": 0.1, "shear": 0.05, "shift": 0.08}
"""Augmentation while the network is fitted: small changes of the position."""


class TurnClassifier(Evaluator):
    """Tells by how many quarter turns an image is rotated, which takes no labels (Gidaris, Singh, Komodakis, 2018).

    Args:
        channels: Those of the images.
        width: Channels of the first layer.
    """

    def __init__(self, channels: int, width: int = 24) -> None:
        super().__init__()

        def block(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        widths = [channels, width, 2 * width, 4 * width, 4 * width]
        self.layers = nn.Sequential(*[layer for pair in pairwise(widths) for layer in block(*pair)])
        self.head = nn.Linear(4 * width, TURNS)

    def forward(self, images: Tensor, *, hidden: bool = False) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] to logits [B, 4], or to features [B, 4 * width] with ``hidden``."""
        features = self.layers(images).mean((2, 3))
        return features if hidden else self.head(features)


class Pretrained(Evaluator):
    """An encoder other than f, with its published weights."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        encoder.load_pretrained()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] to features [B, F]; maps are averaged over positions."""
        features = self.encoder(to_channels(images, self.encoder.channels))
        return features.flatten(2).mean(2) if features.ndim > 2 else features


def image_realism(
    inputs: MetricInput,
    *,
    encoder: EncoderOption | None = None,
    steps: PositiveInt = 400,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 3e-3,
    view: AugmentationOption = MILD_VIEW,
) -> dict[str, float | int]:
    """Distances between G(x) of the source test images and real target test images. It needs no labels.

    By default the features are those of a small network that is fitted on the target's training images to tell by how many
    quarter turns an image is rotated, 96 numbers. Values of different target sets, and values on Inception features, cannot be
    compared with these. FID of few images is too high; compare runs at equal ``n``, and read KID beside it.

    Args:
        encoder: Network whose features are used instead, with its published weights, e.g. timm. It must not be the run's f.
        steps: Steps of fitting the network.
        batch_size: Images per step.
        lr: Highest learning rate of AdamW.
        view: Augmentation while the network is fitted.

    Returns:
        - ``fid``: Frechet distance of two Gaussians (Heusel et al. 2017); near 0 for equal distributions
        - ``kid``: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018); near 0 for equal distributions
        - ``precision``: share of G(x) that lies near a real image; ``recall``: share of the real images that lie near some
          G(x) (Kynkaanniemi et al. 2019, 3 neighbours)
        - ``diversity``: mean distance of two transferred images over that of two real ones; 0 if G is constant
        - ``fid_of_real``: FID between test and training images of the target, a lower bound in practice
        - ``n``: number of transferred images

    Raises:
        NotMeasurableError: If there are fewer than 10 test images of a domain.
    """
    sets = {"fake": inputs.transferred, "real": inputs.target_test, "train": inputs.target_train}
    fewest = min(len(sets["fake"]), len(sets["real"]))
    if fewest < MIN_IMAGES:
        raise NotMeasurableError(f"image-realism needs {MIN_IMAGES} test images of each domain, and there are {fewest}")
    extract = feature_network(inputs, encoder, steps=steps, batch_size=batch_size, lr=lr, view=view)
    sets["train"] = sets["train"].some(max(fewest, len(sets["real"])))
    fake, real, train = (predict(extract, images, inputs.session) for images in sets.values())
    precision, recall = precision_and_recall(fake, real)
    results: dict[str, float | int] = {
        "fid": frechet_distance(fake, real),
        "kid": kernel_distance(fake, real),
        "precision": precision,
        "recall": recall,
        "diversity": spread(fake) / max(spread(real), 1e-6),
        "fid_of_real": frechet_distance(train, real),
        "n": len(fake),
    }
    return {name: round(value, 5) for name, value in results.items()}


def feature_network(
    inputs: MetricInput, encoder: EncoderOption | None, *, steps: int, batch_size: int, lr: float = 3e-3, view: Augmentation
) -> Callable[[Tensor], Tensor]:
    """What gives the features of a metric: an encoder with its published weights, or a fitted TurnClassifier."""
    if encoder is not None:
        return Pretrained(encoder(inputs.target_test.shape[-1], 0)).to(inputs.session.device).eval()
    network = fit_turn_classifier(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    return partial(network, hidden=True)


def fit_turn_classifier(
    images: ImageSet, session: Session, *, steps: int, batch_size: int, lr: float, view: Augmentation
) -> TurnClassifier:
    """The network of the metric, fitted on images or taken from the cache. The arguments are those of ``image_realism``."""
    build, view = partial(TurnClassifier, images.channels), partial(turned, view=view)
    return fit_evaluator(build, images.unlabelled(), session, turn_loss, steps=steps, batch_size=batch_size, lr=lr, view=view)


def turned(images: Tensor, rng: torch.Generator, *, view: Augmentation) -> Tensor:
    """Augment images [B, C, S, S], and rotate image i by i modulo 4 quarter turns."""
    images = view(images, rng)
    rotated = torch.stack([images.rot90(turns, (2, 3)) for turns in range(TURNS)])
    number = torch.arange(len(images), device=images.device)
    return rotated[number % TURNS, number]


def turn_loss(logits: Tensor, index: Tensor) -> Tensor:
    """Cross-entropy of the turns of ``turned`` images; ``index`` is not read."""
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device) % TURNS)
