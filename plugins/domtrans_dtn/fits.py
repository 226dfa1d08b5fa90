"""How f learns before it is fixed: from source labels, and, without labels, from target images."""

from __future__ import annotations

import copy
import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from domtrans import AugmentationOption, Batches, DomtransError, Encoder, ImageSet, Session, to_channels, to_float

Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def classifier(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    *,
    steps: PositiveInt = 1000,
    batch_size: PositiveInt = 64,
    lr: Rate = 1e-3,
    label_smoothing: Share = 0.1,
    view: AugmentationOption | None = None,
) -> None:
    """Fit f with its head as a classifier of the labelled source images (Adam, cosine decay).

    ``steps``: of fitting. ``batch_size``: images in a step. ``lr``: Adam's learning rate at its highest.
    ``label_smoothing``: share of every label that is spread over all classes. ``view``: how f sees the images.
    """
    labels = labels_of(source)
    feed = session.feed(source, Batches(len(source), batch_size, session.seed))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    for step in range(steps):
        set_rate(optimizer, lr, step, steps)
        index, images = feed[step]
        batch, rng = to_float(images), session.rng(step)
        with session.autocast():
            logits = predict(encoder, view(batch, rng) if view else batch)
        loss = F.cross_entropy(logits, labels.to(session.device)[index], label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19:
            session.report(step + 1, steps, {"loss": loss.item()})


def self_training(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    steps: PositiveInt = 1000,
    batch_size: PositiveInt = 64,
    lr: Rate = 1e-3,
    label_smoothing: Share = 0.1,
    begin: Share = 0.3,
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    confidence: Share = 0.9,
    weight: Rate = 1.0,
    even: Share = 1.0,
    source_view: AugmentationOption | None = None,
    target_view: AugmentationOption | None = None,
    weak_view: AugmentationOption | None = None,
) -> None:
    """Fit f on source labels, then also on target images that its own running average labels; no target label is used.

    A mean teacher (Tarvainen and Valpola 2017) for domain adaptation (French et al. 2018): target images that the average of f
    classifies with confidence on a weak view train f on a strong view. f ends as the average.

    ``steps``: of fitting. ``batch_size``: images of each domain in a step. ``lr``: Adam's learning rate at its highest.
    ``label_smoothing``: share of every source label that is spread over all classes.
    ``begin``: share of the steps after which target images take part. ``decay``: of the average of f, a step.
    ``confidence``: least probability at which the average's answer counts. ``weight``: of the target images in the loss.
    ``even``: how hard the average's answers are steered towards equal class shares; 0 leaves them alone.
    ``source_view``, ``target_view``, ``weak_view``: how f sees source images, how f sees target images, and how its average
    does.
    """
    labels, classes = labels_of(source), len(source.classes)
    feed = session.feed(source, Batches(len(source), batch_size, session.seed))
    other_feed = session.feed(target, Batches(len(target), batch_size, session.seed + 1))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    teacher = copy.deepcopy(encoder).requires_grad_(False)
    offset = torch.zeros(classes, device=session.device)
    for step in range(steps):
        set_rate(optimizer, lr, step, steps)
        (index, images), rng = feed[step], session.rng(step)
        batch = to_channels(to_float(images), encoder.channels)
        batch = source_view(batch, rng) if source_view else batch
        adapting = step >= begin * steps
        if adapting:
            other = to_channels(to_float(other_feed[step][1]), encoder.channels)
            with torch.no_grad(), session.autocast():
                answers = (predict(teacher, weak_view(other, rng) if weak_view else other) + offset).softmax(1)
            offset += even * (1 / classes - answers.mean(0))
            batch = torch.cat([batch, target_view(other, rng) if target_view else other])
        with session.autocast():
            logits = predict(encoder, batch)
        loss = F.cross_entropy(logits[: len(index)], labels.to(session.device)[index], label_smoothing=label_smoothing)
        if adapting:
            sure = (answers.amax(1) >= confidence).float()
            loss = loss + weight * (sure * F.cross_entropy(logits[len(index) :], answers.argmax(1), reduction="none")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(teacher, encoder, min(decay, (step + 1) / (step + 10)))
        if step % 20 == 19:
            session.report(step + 1, steps, {"loss": loss.item()})
    encoder.load_state_dict(teacher.state_dict())


def predict(encoder: Encoder, images: Tensor) -> Tensor:
    """Class logits [B, K] of f's head, float32."""
    images = to_channels(images, encoder.channels).contiguous(memory_format=torch.channels_last)
    return encoder.logits(encoder(images)).float()


def labels_of(source: ImageSet) -> Tensor:
    """The source's labels; DomtransError without at least two classes of them."""
    if source.labels is None or len(source.classes) < 2:
        raise DomtransError(
            "f is fitted on source labels, but the source has none (or one class); give it labels, "
            "or load f with encoder.weights=FILE, or take a ready encoder with fit=none"
        )
    return source.labels


def set_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int, warmup: int = 50) -> None:
    """Cosine decay to 2 % after a short linear rise."""
    factor = min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
    for group in optimizer.param_groups:
        group["lr"] = lr * factor


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Exponential moving average of every parameter; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for mine, theirs in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(theirs)
