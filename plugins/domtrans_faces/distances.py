"""How far apart two faces are: in what can be said of them, and to the eye of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field, NonNegativeFloat
from torch import Tensor

from domtrans import Distance, DistanceOption, DomtransError, Encoder, EncoderOption, seeded, to_channels
from domtrans_faces.vocabulary import VOCABULARY

Positive = Annotated[float, Field(gt=0)]


def known(weights: dict[str, float]) -> dict[str, float]:
    """The weights, if each is of an attribute that there is; ValueError otherwise."""
    for name in weights.keys() - VOCABULARY.keys():
        raise ValueError(f"there is no attribute '{name}' (there are {', '.join(VOCABULARY)})")
    return weights


Weights = Annotated[dict[str, NonNegativeFloat], AfterValidator(known)]


def attributes(
    a: Tensor,
    b: Tensor,
    classify: Callable[[Tensor], Tensor] | None = None,
    *,
    weights: Weights = {},  # noqa: B006 - pydantic hands in a copy
    sharpen: Positive = 1.0,
) -> Tensor:
    """The sum over attributes of KL(p_a || p_b), p what f's head for the attribute says of two batches of features [B, F].

    No label takes part: what f says of x is compared with what f says of G(x). ``weights``: of attributes by name; 1 for
    those left out. ``sharpen``: multiplies the logits of x; above 1, g is to draw what f takes x for, not f's doubt.
    Raises DomtransError on images, and for an f without a head for every attribute of drawn faces.
    """
    sizes = [len(values) for values in VOCABULARY.values()]
    wanted, found = (None if classify is None else classify(x) for x in (a, b))
    if wanted is None or found is None or wanted.shape[1] != sum(sizes):
        raise DomtransError(
            "the distance 'attributes' compares what f's heads say of features, one head for each attribute; take the "
            "encoder 'attributes', or another distance"
        )
    terms = [
        weights.get(name, 1.0)
        * F.kl_div(q.log_softmax(1), (sharpen * p).log_softmax(1).detach(), reduction="batchmean", log_target=True)
        for name, p, q in zip(VOCABULARY, wanted.split(sizes, 1), found.split(sizes, 1), strict=True)
    ]
    return torch.stack(terms).sum()


class Perceptual:
    """How far apart images are in the features of a network, for L_TID or beside a distance of pixels ('weighted').

    Dosovitskiy and Brox: Generating Images with Perceptual Similarity Metrics based on Deep Networks, NeurIPS 2016. f's own
    features are compared by 'feature-consistency' with ``of=target``.

    ``encoder``: the network, with its published weights, e.g. timm with ``pretrained=true``; without any, its random layers
    still see edges and textures. ``distance``: of two batches of its features.
    """

    def __init__(self, *, encoder: EncoderOption = "timm", distance: DistanceOption = "mse") -> None:
        self.make = encoder
        self.distance: Distance = distance
        self.network: Encoder | None = None

    def __call__(self, a: Tensor, b: Tensor, classify: object = None) -> Tensor:
        """Images [B, C, size, size] of [-1, 1]; the gradient runs to both. Raises DomtransError for batches of features."""
        if a.ndim != 4:
            raise DomtransError("the distance 'perceptual' compares images; for features take 'mse' or 'cosine'")
        if self.network is None:  # only now is the size of the images known
            with seeded(0):  # the same random layers in every process, and when a run is taken up again
                self.network = self.make(a.shape[-1], 0)
            self.network.load_pretrained()
            self.network.requires_grad_(False).eval()
        network = self.network.to(a.device)
        return self.distance(*(network(to_channels(images, network.channels)).float() for images in (a, b)))
