"""The metric ``content``: how much of x can still be found in G(x), without labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor

from domtrans import (
    AugmentationOption,
    EncoderOption,
    MetricInput,
    MetricValue,
    NotMeasurableError,
    predict,
    to_float,
)
from domtrans_dtn.metrics import MILD_VIEW, feature_network

MIN_IMAGES = 10
"""Test images below which ranks mean nothing."""
FIELD_PIXELS = 4
"""Side of the fields over which edges are averaged, so that a shift by a pixel or two does not matter."""
NEAREST = 5
"""Transferred images among which the one of x is looked for."""

VALUES = (
    MetricValue("edges_kept", "edges kept"),
    MetricValue("edges_by_chance", "edges kept by chance"),
    MetricValue("content_top5", "x found among 5", "%"),
    MetricValue("content_by_chance", "x found by chance", "%", measures_g=False),
    MetricValue("gallery", "images to choose from", measures_g=False),
)


def content(
    inputs: MetricInput,
    *,
    gallery: PositiveInt = 100,
    encoder: EncoderOption | None = None,
    steps: PositiveInt = 400,
    batch_size: PositiveInt = 64,
    view: AugmentationOption = MILD_VIEW,
) -> dict[str, float | int]:
    """How much of x can be found in G(x): by its edges, and by the features of a network that no loss has seen.

    No labels are read. Both numbers must be read beside ``image-realism``: G(x) = x keeps all content and is not realistic.

    Args:
        gallery: Test images, at most. Each x is compared with G of all of them.
        encoder: Network whose features are used, with its published weights, e.g. timm. It must not be the run's f. By
            default the small network of ``image-realism``, fitted on the target's training images to tell quarter turns.
        steps: Steps of fitting that network.
        batch_size: Images per step.
        view: Augmentation while it is fitted.

    Returns:
        - ``edges_kept``: mean correlation of the edges of x and of G(x), from -1 to 1. Edges are lengths of brightness
          gradients, averaged over fields of 4 x 4 pixels
        - ``edges_by_chance``: the same of x and G of another image; what is above it is content
        - ``content_top5``: share of x whose own G(x) is among the 5 of the gallery with the most similar features, after the
          features of each set are standardised
        - ``content_by_chance``: what random ranks give
        - ``gallery``: images that are compared

    Raises:
        NotMeasurableError: If there are fewer than 10 source test images.
    """
    count = min(gallery, len(inputs.source))
    if count < MIN_IMAGES:
        raise NotMeasurableError(f"content needs {MIN_IMAGES} source test images, and there are {count}")
    source, transferred = inputs.source.some(count), inputs.transferred.some(count)
    edges, fake_edges = (edge_map(to_float(images.images)) for images in (source, transferred))
    extract = feature_network(inputs, encoder, steps=steps, batch_size=batch_size, view=view)
    if encoder is None:
        source = source.in_channels(inputs.target_train.channels)
    features, fake_features = (_standardised(predict(extract, images, inputs.session)) for images in (source, transferred))
    similarities = F.normalize(features) @ F.normalize(fake_features).T
    results = {
        "edges_kept": correlation(edges, fake_edges).mean().item(),
        "edges_by_chance": correlation(edges, fake_edges.roll(1, 0)).mean().item(),
        "content_top5": share_found(similarities, NEAREST),
        "content_by_chance": NEAREST / count,
    }
    return {name: round(value, 5) for name, value in results.items()} | {"gallery": count}


def edge_map(images: Tensor) -> Tensor:
    """Images [B, C, H, W] to the mean lengths of the gradients of their brightness in fields of 4 x 4 pixels, [B, fields].

    The brightness is the mean of the channels, and its gradient is taken by central differences.
    """
    grey = images.mean(1, keepdim=True)
    across = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]) / 2
    down = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]) / 2
    return F.avg_pool2d((across.square() + down.square()).sqrt(), FIELD_PIXELS).flatten(1)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of the rows of [B, D] and [B, D]: [B]; 0 for a row without variance."""
    return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1)


def share_found(similarities: Tensor, nearest: int) -> float:
    """Share of rows whose entry on the diagonal is among the ``nearest`` largest; of equal entries, it counts as the last."""
    others_above = (similarities >= similarities.diagonal()[:, None]).sum(1)  # with itself
    return (others_above <= nearest).float().mean().item()


def _standardised(features: Tensor) -> Tensor:
    """Features [N, F] with mean 0 and standard deviation 1 over the set, because domains differ in both."""
    deviation, mean = torch.std_mean(features.float(), 0)
    return (features.float() - mean) / deviation.clamp_min(1e-6)
