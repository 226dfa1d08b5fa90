"""How f is fitted before it is frozen: on source labels, and on target images without labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from domtrans import (
    Attribute,
    AugmentationOption,
    Batches,
    DomtransError,
    Encoder,
    ImageSet,
    Session,
    head_sizes,
    to_channels,
    to_float,
    warmup_cosine,
)

Share = Annotated[float, Field(ge=0, le=1)]

REPORT_EVERY = 20
"""Steps between two progress reports."""


def classifier(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    *,
    steps: PositiveInt = 1000,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 1e-3,
    label_smoothing: Share = 0.1,
    balance: Share = 0.0,
    view: AugmentationOption | None = None,
) -> None:
    """Fit f and its head as a classifier of the labelled source images (Adam, cosine decay).

    An f with attribute heads learns the attributes of the source; unknown values do not enter the loss.

    Args:
        steps: Optimizer steps.
        batch_size: Images per step.
        lr: Highest learning rate of Adam.
        label_smoothing: Share of every label that is spread evenly over all classes.
        balance: How much rare values count. 0: every image counts the same; 1: every value of a head counts the same.
        view: Augmentation of the images.

    Raises:
        DomtransError: If the source has no labels that f's heads can learn.
    """
    targets = HeadTargets.of(source, encoder, session.device, balance)
    loader = session.batch_loader(source, Batches(len(source), batch_size, session.seed))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    for step in range(steps):
        set_learning_rate(optimizer, lr, step, steps)
        index, images = loader[step]
        batch, rng = to_float(images), session.rng(step)
        with session.autocast():
            logits = head_logits(encoder, view(batch, rng) if view else batch)
        loss = targets.loss(logits, index, label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report_loss(session, step, steps, loss)


def self_training(
    encoder: Encoder,
    source: ImageSet,
    session: Session,
    target: ImageSet,
    *,
    steps: PositiveInt = 1000,
    batch_size: PositiveInt = 64,
    lr: PositiveFloat = 1e-3,
    label_smoothing: Share = 0.1,
    begin: Share = 0.3,
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    confidence: Share = 0.9,
    weight: PositiveFloat = 1.0,
    even: Share = 1.0,
    shares: Literal["equal", "source"] = "equal",
    balance: Share = 0.0,
    source_view: AugmentationOption | None = None,
    target_view: AugmentationOption | None = None,
    weak_view: AugmentationOption | None = None,
) -> None:
    """Fit f on source labels, and on target images with pseudo-labels from its own exponential moving average (EMA).

    A mean teacher (Tarvainen and Valpola 2017) for domain adaptation (French et al. 2018). The EMA of f, the teacher,
    classifies a weak view of each target image. Where it is confident, f learns its answer on a strong view. No target
    label is used. f ends as the teacher. With attribute heads, all of this applies to each attribute.

    Args:
        steps: Optimizer steps.
        batch_size: Images of each domain per step.
        lr: Highest learning rate of Adam, with cosine decay.
        label_smoothing: Share of every source label that is spread evenly over all classes.
        begin: Share of the steps after which target images are used.
        decay: Decay of the EMA per step.
        confidence: Lowest probability at which an answer of the teacher is used as a pseudo-label.
        weight: Weight of the target images in the loss.
        even: How strongly the teacher's answers are pulled towards ``shares``; 0 leaves them unchanged.
        shares: Expected class frequencies in the target: "equal" for all classes, or those of the source's labels.
        balance: How much rare values of the source's labels count. 0: every image counts the same; 1: every value of a head
            counts the same.
        source_view: Augmentation of the source images.
        target_view: Augmentation of the target images that f learns from.
        weak_view: Augmentation of the target images that the teacher classifies.

    Raises:
        DomtransError: If the source has no labels that f's heads can learn.
    """
    targets = HeadTargets.of(source, encoder, session.device, balance)
    expected = targets.label_frequencies() if shares == "source" else targets.equal_frequencies()
    source_loader = session.batch_loader(source, Batches(len(source), batch_size, session.seed))
    target_loader = session.batch_loader(target, Batches(len(target), batch_size, session.seed + 1))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    teacher = copy.deepcopy(encoder).requires_grad_(False)
    logit_offset = torch.zeros_like(expected)
    for step in range(steps):
        set_learning_rate(optimizer, lr, step, steps)
        (index, images), rng = source_loader[step], session.rng(step)
        batch = to_channels(to_float(images), encoder.channels)
        batch = source_view(batch, rng) if source_view else batch
        adapting = step >= begin * steps
        if adapting:
            target_images = to_channels(to_float(target_loader[step][1]), encoder.channels)
            with torch.no_grad(), session.autocast():
                weak = weak_view(target_images, rng) if weak_view else target_images
                teacher_logits = head_logits(teacher, weak) + logit_offset
                teacher_probabilities = [logits.softmax(1) for logits in teacher_logits.split(targets.sizes, 1)]
            logit_offset += even * (expected - torch.cat(teacher_probabilities, 1).mean(0))
            batch = torch.cat([batch, target_view(target_images, rng) if target_view else target_images])
        with session.autocast():
            logits = head_logits(encoder, batch)
        loss = targets.loss(logits[: len(index)], index, label_smoothing)
        if adapting:
            target_logits = logits[len(index) :].split(targets.sizes, 1)
            loss = loss + weight * pseudo_label_loss(target_logits, teacher_probabilities, confidence)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema(teacher, encoder, min(decay, (step + 1) / (step + 10)))
        report_loss(session, step, steps, loss)
    encoder.load_state_dict(teacher.state_dict())


def head_logits(encoder: Encoder, images: Tensor) -> Tensor:
    """Logits [B, K] of f's heads for images [B, C, H, W], float32."""
    images = to_channels(images, encoder.channels).contiguous(memory_format=torch.channels_last)
    return encoder.logits(encoder(images)).float()


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int) -> None:
    """Linear warm-up, then cosine decay to 2 % of ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * warmup_cosine(step, steps)


def report_loss(session: Session, step: int, steps: int, loss: Tensor) -> None:
    """Report the loss now and then: reading it waits for the device."""
    if step % REPORT_EVERY == REPORT_EVERY - 1:
        session.progress(step + 1, steps, {"loss": loss.item()})


@torch.no_grad()
def update_ema(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    """Update the exponential moving average of every parameter; copy the buffers."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for averaged, current in zip(average.buffers(), model.buffers(), strict=True):
        averaged.copy_(current)


@dataclass(frozen=True)
class HeadTargets:
    """What the heads of f should predict for the source images.

    Args:
        sizes: Number of values of each head.
        labels: int64 [N, heads]; -1 where a label is unknown.
        balance: How much rare values count in the loss, 0 to 1: the exponent of one over the frequency of a value.
    """

    sizes: list[int]
    labels: Tensor
    balance: float = 0.0

    @classmethod
    def of(cls, source: ImageSet, encoder: Encoder, device: torch.device, balance: float = 0.0) -> HeadTargets:
        """The labels of the source for the heads of f; DomtransError if there are none, or their values differ."""
        heads = encoder.heads or {"class": len(source.classes)}  # an f without heads raises when it is asked for logits
        labels = known_labels(source)
        for name, values in heads.items():
            if name in labels and not matches(labels[name], values):
                expected, found = in_words(values), in_words(labels[name].values)
                raise DomtransError(f"the head '{name}' of f has the values {expected}, but the source has {found}")
        if not heads.keys() & labels.keys():
            raise DomtransError(
                "f is fitted on source labels, but the source has no labels, or only one class; add labels, "
                "load f with encoder.weights=FILE, or use a pretrained encoder with fit=none"
                if "class" in heads
                else f"the source has none of the attributes that f predicts ({', '.join(heads)}); use a source with "
                "attributes, such as portraits, or load f with encoder.weights=FILE"
            )
        unknown = torch.full((len(source),), -1)
        index = [labels[name].index if name in labels else unknown for name in heads]
        return cls(head_sizes(heads), torch.stack(index, 1).to(device), balance)

    def loss(self, logits: Tensor, index: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy of logits [B, sum(sizes)] with the labels of source images ``index`` [B], averaged over heads."""
        labels = self.labels[index]
        terms = [
            self.head_loss(k, logit, labels[:, k], label_smoothing)
            for k, logit in enumerate(logits.split(self.sizes, 1))
            if bool((labels[:, k] >= 0).any())
        ]
        return torch.stack(terms).mean() if terms else logits.sum() * 0

    def head_loss(self, head: int, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy of the logits [B, size] of one head with labels [B], of which at least one is known."""
        if not self.balance:
            return F.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=label_smoothing)
        losses = F.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=label_smoothing, reduction="none")
        weights = self.value_weights[head][labels.clamp_min(0)] * (labels >= 0)
        return (weights * losses).sum() / weights.sum()

    @cached_property
    def value_weights(self) -> list[Tensor]:
        """The weight of every value of every head in the loss: [size] each."""
        return [shares.clamp_min(1e-3) ** -self.balance for shares in self.label_frequencies().split(self.sizes)]

    def equal_frequencies(self) -> Tensor:
        """Equal frequencies of all values of a head: [sum(sizes)]."""
        return torch.cat([self.labels.new_full((size,), 1 / size, dtype=torch.float32) for size in self.sizes])

    def label_frequencies(self) -> Tensor:
        """Frequencies of the values among the known labels: [sum(sizes)]; equal for a head without any."""
        counts = [
            torch.bincount(self.labels[:, k].clamp_min(-1) + 1, minlength=size + 1)[1:] for k, size in enumerate(self.sizes)
        ]
        equal = self.equal_frequencies().split(self.sizes)
        pairs = zip(counts, equal, strict=True)
        return torch.cat([count / total if (total := count.sum()) else uniform for count, uniform in pairs])


def pseudo_label_loss(logits: Sequence[Tensor], probabilities: Sequence[Tensor], confidence: float) -> Tensor:
    """Cross-entropy with the teacher's most likely values, averaged over images and heads.

    An image whose highest teacher probability is below ``confidence`` counts as 0.
    """
    terms = []
    for logit, probability in zip(logits, probabilities, strict=True):
        confident = (probability.amax(1) >= confidence).float()
        terms.append((confident * F.cross_entropy(logit, probability.argmax(1), reduction="none")).mean())
    return torch.stack(terms).mean()


def known_labels(source: ImageSet) -> dict[str, Attribute]:
    """The attributes of the source by name, and as ``class`` its labels if they are of at least two classes."""
    labels = dict(source.attributes)
    if source.labels is not None and len(source.classes) > 1:
        labels["class"] = Attribute(source.classes, source.labels)
    return labels


def matches(attribute: Attribute, values: Sequence[str] | int) -> bool:
    """Whether the values of an attribute are those of a head, or as many where the head does not name them."""
    return len(attribute.values) == values if isinstance(values, int) else tuple(attribute.values) == tuple(values)


def in_words(values: Sequence[str] | int) -> str:
    """The values of a head for a message."""
    return f"0 to {values - 1}" if isinstance(values, int) else ", ".join(values)
