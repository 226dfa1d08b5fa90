"""A fit of f that needs no labels: SimCLR on the images of both domains."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from domtrans import AugmentationOption, Batches, Encoder, ImageSet, Session, to_channels, to_float
from domtrans_dtn.fits import report_loss, set_learning_rate

VIEW: dict[str, Any] = {
    "name": "chain",
    "steps": [
        {"name": "warp", "rotate": 0.15, "scale": 0.3, "shear": 0.1, "shift": 0.25},
        {"name": "flip"},
        {"name": "diff-augment", "policy": ["colour"]},
        {"name": "blur"},
        {"name": "noise", "amount": 0.1},
    ],
}
"""Changes that should not change what an image shows: place and size, mirror image, colour and sharpness."""


def self_supervised(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    steps: PositiveInt = 600,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 1e-3,
    weight_decay: PositiveFloat = 1e-4,
    temperature: PositiveFloat = 0.2,
    projection: PositiveInt = 64,
    view: AugmentationOption = VIEW,
) -> None:
    """Fit f without labels so that two views of an image have similar features, and other images of its domain others.

    SimCLR (Chen et al.: A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020) on the images of
    both domains. An image is compared with images of its own domain only. If source images were compared with target images,
    f would learn to tell the domains apart, and L_CONST needs features that mean the same in both. Two layers between f's
    features and the loss are thrown away after the fit, as in the paper. Features that are maps are averaged over the map.

    Args:
        steps: Optimizer steps.
        batch_size: Images of each domain per step; each is seen in two views.
        lr: Highest learning rate of AdamW, with cosine decay.
        weight_decay: Weight decay of AdamW.
        temperature: Divisor of the cosine similarities. Lower: the most similar other images count more.
        projection: Numbers that an image is compared by.
        view: Augmentation that makes a view.
    """
    with torch.no_grad():
        width = _pooled(encoder, to_float(source.batch(torch.arange(2)).to(session.device))).shape[1]
    head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection)).to(session.device)
    optimizer = torch.optim.AdamW(chain(encoder.parameters(), head.parameters()), lr, weight_decay=weight_decay, fused=True)
    sets = (source, target)
    sizes = [min(batch_size, len(images)) for images in sets]
    loaders = [
        session.batch_loader(images, Batches(len(images), size, session.seed + number))
        for number, (images, size) in enumerate(zip(sets, sizes, strict=True))
    ]
    for step in range(steps):
        set_learning_rate(optimizer, lr, step, steps)
        rng = session.rng(step)
        views = []
        for loader in loaders:
            images = to_channels(to_float(loader[step][1]), encoder.channels)
            views += [view(images, rng), view(images, rng)]
        with session.autocast():
            projected = head(_pooled(encoder, torch.cat(views))).float()
        a, b, c, d = projected.split([sizes[0], sizes[0], sizes[1], sizes[1]])
        loss = (nt_xent(a, b, temperature) + nt_xent(c, d, temperature)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report_loss(session, step, steps, loss)


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """The normalised temperature-scaled cross-entropy of SimCLR (equation 1), averaged over both orders of all pairs.

    For view i of an image and the other view j of it, the loss is -log(exp(s_ij / t) / sum over k != i of exp(s_ik / t)),
    where s is the cosine similarity, t the temperature, and k runs over the 2 B views.

    Args:
        a: One view of each image, [B, D].
        b: The other view, [B, D].
        temperature: t.

    Returns:
        The loss, a scalar.
    """
    projected = F.normalize(torch.cat([a, b]), dim=1)
    similarities = (projected @ projected.T / temperature).fill_diagonal_(-torch.inf)
    other_view = torch.arange(len(projected), device=a.device).roll(len(a))
    return F.cross_entropy(similarities, other_view)


def _pooled(encoder: Encoder, images: Tensor) -> Tensor:
    """f's features [B, F] of images of any number of channels, averaged over the map if they are maps."""
    images = to_channels(images, encoder.channels).contiguous(memory_format=torch.channels_last)
    features: Tensor = encoder(images)
    return features.flatten(2).mean(2) if features.ndim > 2 else features
