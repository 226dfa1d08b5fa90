"""Fits that move f's decision boundaries away from target images: VADA and DIRT-T (Shu et al., ICLR 2018).

Both assume that images of one class lie close together. Then a good boundary does not pass near images: f is certain of its
prediction (conditional entropy), and small changes of an image do not change it (virtual adversarial training).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from domtrans import AugmentationOption, Batches, DomtransError, Encoder, ImageSet, Session, head_sizes, to_channels, to_float
from domtrans_dtn.fits import HeadTargets, Share, head_logits, report_loss, set_learning_rate, update_ema

Decay = Annotated[float, Field(ge=0, lt=1)]

PROBE = 1.0
"""Length of the random change at which the search for the strongest change begins. The square root of 3,072, the number of
values of a colour image of 32 pixels, is 55; a much shorter change would be lost in bfloat16."""
DOMAIN_UNITS = 100
"""Hidden units of the domain classifier, as in the paper."""


def vada(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    steps: PositiveInt = 1000,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 1e-3,
    label_smoothing: Share = 0.0,
    begin: Share = 0.3,
    decay: Decay = 0.99,
    weight: PositiveFloat = 0.1,
    smooth_source: NonNegativeFloat = 0.0,
    domain: NonNegativeFloat = 0.01,
    radius: PositiveFloat = 3.5,
    source_view: AugmentationOption | None = None,
    target_view: AugmentationOption | None = None,
) -> None:
    """Fit f on source labels, with its decision boundaries far from target images. No target label is used.

    VADA (Shu et al.: A DIRT-T Approach to Unsupervised Domain Adaptation, ICLR 2018, equation 8). The loss is the
    cross-entropy of the source labels, and for target images the conditional entropy of f's predictions and virtual
    adversarial training (Miyato et al., 2017): predictions should not change with the change of an image, of length ``radius``,
    that changes them most. A domain classifier, which tells the domains apart by f's features, is trained against f by
    gradient reversal (Ganin and Lempitsky, 2015). f ends as the exponential moving average (EMA) of its weights. With attribute
    heads, the terms are means over heads.

    Args:
        steps: Optimizer steps.
        batch_size: Images of each domain per step.
        lr: Highest learning rate of Adam, with cosine decay.
        label_smoothing: Share of every source label that is spread evenly over all classes.
        begin: Share of the steps after which target images are used.
        decay: Decay of the EMA per step.
        weight: Weight of the entropy and of virtual adversarial training on target images (the paper's lambda_t).
        smooth_source: Weight of virtual adversarial training on source images (lambda_s).
        domain: Weight of the domain classifier (lambda_d). 0: there is none.
        radius: Length of the changes, as the norm of all values of an image in [-1, 1].
        source_view: Augmentation of the source images.
        target_view: Augmentation of the target images.

    Raises:
        DomtransError: If the source has no labels that f's heads can learn.
    """
    targets = HeadTargets.of(source, encoder, session.device)
    source_loader = session.batch_loader(source, Batches(len(source), batch_size, session.seed))
    target_loader = session.batch_loader(target, Batches(len(target), batch_size, session.seed + 1))
    domains = domain_classifier(encoder).to(session.device)
    optimizer = torch.optim.Adam(chain(encoder.parameters(), domains.parameters()), lr, fused=True)
    average = copy.deepcopy(encoder).requires_grad_(False)
    for step in range(steps):
        set_learning_rate(optimizer, lr, step, steps)
        (index, images), rng = source_loader[step], session.rng(step)
        batch = seen(encoder, images, source_view, rng)
        adapting = step >= begin * steps
        if adapting:
            target_batch = seen(encoder, target_loader[step][1], target_view, rng)
        with session.autocast():
            features = encoder(batch)
            logits = encoder.logits(features).float()
            loss = targets.loss(logits, index, label_smoothing)
            if smooth_source:
                loss = loss + smooth_source * virtual_adversarial(encoder, batch, logits, targets.sizes, radius, rng)
            if adapting:
                target_features = encoder(target_batch)
                target_logits = encoder.logits(target_features).float()
                smooth = virtual_adversarial(encoder, target_batch, target_logits, targets.sizes, radius, rng)
                loss = loss + weight * (smooth + conditional_entropy(target_logits, targets.sizes))
                if domain:
                    loss = loss + domain * domain_loss(domains, features, target_features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema(average, encoder, min(decay, (step + 1) / (step + 10)))
        report_loss(session, step, steps, loss)
    encoder.load_state_dict(average.state_dict())


def dirt_t(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    steps: PositiveInt = 500,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 1e-4,
    decay: Decay = 0.998,
    pull: NonNegativeFloat = 1.0,
    radius: PositiveFloat = 3.5,
    target_view: AugmentationOption | None = None,
) -> None:
    """Refine a fitted f on target images alone, without labels, so that its decision boundaries move away from them.

    DIRT-T (Shu et al.: A DIRT-T Approach to Unsupervised Domain Adaptation, ICLR 2018, equation 11): the conditional entropy
    and virtual adversarial training of ``vada``, and the divergence from the predictions of a teacher, the slow exponential
    moving average (EMA) of f, which keeps every step small. No source image is used, so the recipe needs a fit before it: write
    it as ``adapt``, or give f with ``encoder.weights``. f ends as the teacher.

    Args:
        steps: Optimizer steps.
        batch_size: Images per step.
        lr: Highest learning rate of Adam, with cosine decay.
        decay: Decay of the EMA per step.
        pull: Weight of the divergence from the teacher, relative to the other terms (beta over lambda_t in the paper).
        radius: Length of the changes, as the norm of all values of an image in [-1, 1].
        target_view: Augmentation of the images.

    Raises:
        DomtransError: If f has no heads, or is not fitted yet.
    """
    if session.phase == "fit":  # which is left out if f has weights
        raise DomtransError(
            "the fit 'dirt-t' refines an f that is fitted already, and reads no labels; write it as adapt=dirt-t, after a fit "
            "or with encoder.weights"
        )
    sizes = head_sizes(encoder.heads)
    loader = session.batch_loader(target, Batches(len(target), batch_size, session.seed))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    teacher = copy.deepcopy(encoder).requires_grad_(False)
    for step in range(steps):
        set_learning_rate(optimizer, lr, step, steps)
        rng = session.rng(step)
        batch = seen(encoder, loader[step][1], target_view, rng)
        with session.autocast():
            logits = head_logits(encoder, batch)
            with torch.no_grad():
                taught = head_logits(teacher, batch)
            smooth = virtual_adversarial(encoder, batch, logits, sizes, radius, rng)
            loss = smooth + conditional_entropy(logits, sizes) + pull * divergence(taught, logits, sizes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema(teacher, encoder, decay)  # slow from the first step: f is fitted already
        report_loss(session, step, steps, loss)
    encoder.load_state_dict(teacher.state_dict())


def seen(encoder: Encoder, images: Tensor, view: Any, rng: torch.Generator) -> Tensor:
    """Loaded images, uint8 [B, C, H, W], as f sees them: augmented, with f's channels, float32 in [-1, 1]."""
    batch = to_channels(to_float(images), encoder.channels)
    return view(batch, rng) if view else batch


def conditional_entropy(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """-E sum over the values of p log p, of logits [B, K] of heads of these sizes; the mean over heads."""
    parts = [logit.log_softmax(1) for logit in logits.split(list(sizes), 1)]
    return torch.stack([-(part.exp() * part).sum(1).mean() for part in parts]).mean()


def divergence(taught: Tensor, logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """E KL(p || q) of the predictions p of logits ``taught`` and q of ``logits``, [B, K]; the mean over heads."""
    pairs = zip(taught.split(list(sizes), 1), logits.split(list(sizes), 1), strict=True)
    terms = [F.kl_div(q.log_softmax(1), p.log_softmax(1), log_target=True, reduction="batchmean") for p, q in pairs]
    return torch.stack(terms).mean()


def virtual_adversarial(
    encoder: Encoder, images: Tensor, logits: Tensor, sizes: Sequence[int], radius: float, rng: torch.Generator
) -> Tensor:
    """KL(p(x) || p(x + r)) for the change r of length ``radius`` that increases it most (Miyato et al., 2017, equation 5).

    r is found by one power iteration: the gradient of the divergence at a random short change.

    Args:
        encoder: f. Gradients reach its weights through p(x + r) only.
        images: x, [B, C, H, W].
        logits: f's logits of x, [B, K].
        sizes: The sizes of f's heads.
        radius: Length of r.
        rng: Draws the random change.

    Returns:
        The mean over images and heads, a scalar.
    """
    fixed = logits.detach()
    with frozen_statistics(encoder):
        noise = torch.randn(images.shape, generator=rng, device=images.device)
        change = (PROBE * of_unit_length(noise)).requires_grad_(True)
        moved = divergence(fixed, head_logits(encoder, images + change), sizes)
        (direction,) = torch.autograd.grad(moved, change)
        return divergence(fixed, head_logits(encoder, images + radius * of_unit_length(direction)), sizes)


def of_unit_length(changes: Tensor) -> Tensor:
    """Changes of images [B, C, H, W], each scaled to the norm 1; those that are 0 stay 0."""
    norms = changes.flatten(1).norm(dim=1).clamp_min(torch.finfo(changes.dtype).tiny)
    return changes / norms[:, None, None, None]


@contextmanager
def frozen_statistics(encoder: nn.Module) -> Iterator[None]:
    """A block in which batch norm does not update its statistics, because the images in it are changed on purpose."""
    momenta = {module: module.momentum for module in encoder.modules() if isinstance(module, _BatchNorm)}
    try:
        for module in momenta:
            module.momentum = 0.0
        yield
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum


class GradientReversal(torch.autograd.Function):
    """The identity, whose backward pass negates the gradient (Ganin and Lempitsky, 2015)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """The features themselves."""
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The negative of the gradient."""
        return -gradients[0]


def domain_classifier(encoder: Encoder) -> nn.Module:
    """A network that tells from f's features whether an image is of the target: one logit."""
    width = math.prod(encoder.feature_shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(width, DOMAIN_UNITS), nn.ReLU(), nn.Linear(DOMAIN_UNITS, 1))


def domain_loss(classifier: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the domain classifier, which learns to lower it, while f learns to raise it.

    Args:
        classifier: The network of ``domain_classifier``.
        source: f's features of source images, [B, ...].
        target: f's features of target images, [B, ...].

    Returns:
        The mean over both domains, a scalar.
    """
    reverse: Any = GradientReversal.apply
    answers = [classifier(reverse(features)).float() for features in (source, target)]
    wanted = (torch.zeros_like, torch.ones_like)
    terms = [F.binary_cross_entropy_with_logits(a, of(a)) for a, of in zip(answers, wanted, strict=True)]
    return torch.stack(terms).mean()
