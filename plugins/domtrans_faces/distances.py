"""Distances between faces: by predicted attributes, and by the features of another network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, NonNegativeFloat, PositiveFloat
from torch import Tensor

from domtrans import Distance, DistanceOption, DomtransError, Encoder, EncoderOption, seeded, to_channels
from domtrans_faces.vocabulary import VOCABULARY


def check_attributes(weights: dict[str, float]) -> dict[str, float]:
    """The weights; ValueError if one is for an unknown attribute."""
    for name in weights.keys() - VOCABULARY.keys():
        raise ValueError(f"unknown attribute '{name}' (attributes: {', '.join(VOCABULARY)})")
    return weights


Weights = Annotated[dict[str, NonNegativeFloat], AfterValidator(check_attributes)]


def attributes(
    a: Tensor,
    b: Tensor,
    classify: Callable[[Tensor], Tensor] | None = None,
    *,
    weights: Weights = {},  # noqa: B006 - pydantic hands in a copy
    sharpen: PositiveFloat = 1.0,
) -> Tensor:
    """Weighted sum over attributes of KL(p_a || p_b), with p the predictions of f's heads for two batches [B, F].

    It uses no labels: it compares f's prediction for x with f's prediction for G(x).

    Args:
        weights: Weight of an attribute by name; 1 for those not listed.
        sharpen: Multiplies the logits of x. Above 1, g draws the value that f predicts rather than f's uncertainty.

    Raises:
        DomtransError: For images, or for an f without one head for each attribute of drawn faces.
    """
    sizes = [len(values) for values in VOCABULARY.values()]
    a_logits, b_logits = (None if classify is None else classify(x) for x in (a, b))
    if a_logits is None or b_logits is None or a_logits.shape[1] != sum(sizes):
        raise DomtransError(
            "the distance 'attributes' compares the predictions of f's attribute heads; use the encoder 'attributes', or "
            "another distance"
        )
    terms = [
        weights.get(name, 1.0)
        * F.kl_div(q.log_softmax(1), (sharpen * p).log_softmax(1).detach(), reduction="batchmean", log_target=True)
        for name, p, q in zip(VOCABULARY, a_logits.split(sizes, 1), b_logits.split(sizes, 1), strict=True)
    ]
    return torch.stack(terms).sum()


class Perceptual:
    """Perceptual distance: a distance between images in the features of a network.

    Dosovitskiy and Brox: Generating Images with Perceptual Similarity Metrics based on Deep Networks, NeurIPS 2016. For
    L_TID, alone or together with a pixel distance ('weighted'). To compare features of f itself, use the loss
    'feature-consistency' with ``of=target``.

    Args:
        encoder: The network, with its published weights if it has some, e.g. timm with ``pretrained=true``. Random layers
            work too, because they respond to edges and textures.
        distance: The distance between two batches of its features.
    """

    def __init__(self, *, encoder: EncoderOption = "timm", distance: DistanceOption = "mse") -> None:
        self.build = encoder
        self.distance: Distance = distance
        self.network: Encoder | None = None

    def __call__(self, a: Tensor, b: Tensor, classify: object = None) -> Tensor:
        """Distance of images [B, C, size, size] in [-1, 1], differentiable in both; DomtransError for features."""
        if a.ndim != 4:
            raise DomtransError("the distance 'perceptual' compares images; for features use 'mse' or 'cosine'")
        if self.network is None:  # the size of the images is first known here
            with seeded(0):  # the same random layers in every process, and when a run is resumed
                self.network = self.build(a.shape[-1], 0)
            self.network.load_pretrained()
            self.network.requires_grad_(False).eval()
        network = self.network.to(a.device)
        return self.distance(*(network(to_channels(images, network.channels)).float() for images in (a, b)))
