"""How f learns before it is fixed: from source labels, and, without labels, from target images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

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

    An f that tells attributes learns those of the source; unknown ones count for nothing.

    ``steps``: of fitting. ``batch_size``: images in a step. ``lr``: Adam's learning rate at its highest.
    ``label_smoothing``: share of every label that is spread over all classes. ``view``: how f sees the images.
    """
    asked = Questions.about(source, encoder, session.device)
    feed = session.feed(source, Batches(len(source), batch_size, session.seed))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    for step in range(steps):
        set_rate(optimizer, lr, step, steps)
        index, images = feed[step]
        batch, rng = to_float(images), session.rng(step)
        with session.autocast():
            logits = predict(encoder, view(batch, rng) if view else batch)
        loss = asked.loss(logits, index, label_smoothing)
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
    shares: Literal["equal", "source"] = "equal",
    source_view: AugmentationOption | None = None,
    target_view: AugmentationOption | None = None,
    weak_view: AugmentationOption | None = None,
) -> None:
    """Fit f on source labels, then also on target images that its own running average labels; no target label is used.

    A mean teacher (Tarvainen and Valpola 2017) for domain adaptation (French et al. 2018): target images that the average of f
    classifies with confidence on a weak view train f on a strong view. f ends as the average. Of an f that tells attributes,
    all of this holds for each of them.

    ``steps``: of fitting. ``batch_size``: images of each domain in a step. ``lr``: Adam's learning rate at its highest.
    ``label_smoothing``: share of every source label that is spread over all classes.
    ``begin``: share of the steps after which target images take part. ``decay``: of the average of f, a step.
    ``confidence``: least probability at which the average's answer counts. ``weight``: of the target images in the loss.
    ``even``: how hard the average's answers are steered towards ``shares``; 0 leaves them alone. ``shares``: equal shares of
    all classes, or those that the source's labels have.
    ``source_view``, ``target_view``, ``weak_view``: how f sees source images, how f sees target images, and how its average
    does.
    """
    asked = Questions.about(source, encoder, session.device)
    aim = asked.shares() if shares == "source" else asked.equal_shares()
    feed = session.feed(source, Batches(len(source), batch_size, session.seed))
    other_feed = session.feed(target, Batches(len(target), batch_size, session.seed + 1))
    optimizer = torch.optim.Adam(encoder.parameters(), lr, fused=True)
    teacher = copy.deepcopy(encoder).requires_grad_(False)
    offset = torch.zeros_like(aim)
    for step in range(steps):
        set_rate(optimizer, lr, step, steps)
        (index, images), rng = feed[step], session.rng(step)
        batch = to_channels(to_float(images), encoder.channels)
        batch = source_view(batch, rng) if source_view else batch
        adapting = step >= begin * steps
        if adapting:
            other = to_channels(to_float(other_feed[step][1]), encoder.channels)
            with torch.no_grad(), session.autocast():
                logits = predict(teacher, weak_view(other, rng) if weak_view else other) + offset
                answers = [logit.softmax(1) for logit in logits.split(asked.sizes, 1)]
            offset += even * (aim - torch.cat(answers, 1).mean(0))
            batch = torch.cat([batch, target_view(other, rng) if target_view else other])
        with session.autocast():
            logits = predict(encoder, batch)
        loss = asked.loss(logits[: len(index)], index, label_smoothing)
        if adapting:
            loss = loss + weight * agreement(logits[len(index) :].split(asked.sizes, 1), answers, confidence)
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


@dataclass(frozen=True)
class Questions:
    """What f is asked about an image: its class, or, of an f that tells attributes, each of them.

    ``sizes``: of each question, how many answers it has. ``truth``: the source's, int64 [N, questions]; -1 where not known.
    """

    sizes: list[int]
    truth: Tensor

    @classmethod
    def about(cls, source: ImageSet, encoder: Encoder, device: torch.device) -> Questions:
        """What f can tell and the source knows, unknown where it does not; DomtransError where it knows nothing of it."""
        if not encoder.heads:
            return cls([len(source.classes)], labels_of(source).to(device)[:, None])
        known = {name: one for name in encoder.heads if (one := source.attributes.get(name)) is not None}
        for name, one in known.items():
            if tuple(one.values) != tuple(encoder.heads[name]):
                words = ", ".join(encoder.heads[name])
                raise DomtransError(f"f tells the attribute '{name}' as {words}, but the source as {', '.join(one.values)}")
        if not known:
            raise DomtransError(
                f"f is fitted on attributes ({', '.join(encoder.heads)}), of which the source has none; take a source with "
                "them, such as portraits, or load f with encoder.weights=FILE"
            )
        unknown = torch.full((len(source),), -1)
        truth = [known[name].index if name in known else unknown for name in encoder.heads]
        return cls([len(values) for values in encoder.heads.values()], torch.stack(truth, 1).to(device))

    def loss(self, logits: Tensor, index: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy of logits [B, all answers] with the truth about source images ``index``, averaged over questions."""
        truth = self.truth[index]
        terms = [
            F.cross_entropy(logit, truth[:, k], ignore_index=-1, label_smoothing=label_smoothing)
            for k, logit in enumerate(logits.split(self.sizes, 1))
            if bool((truth[:, k] >= 0).any())
        ]
        return torch.stack(terms).mean() if terms else logits.sum() * 0

    def equal_shares(self) -> Tensor:
        """As if all answers to a question were equally frequent: [all answers]."""
        return torch.cat([self.truth.new_full((size,), 1 / size, dtype=torch.float32) for size in self.sizes])

    def shares(self) -> Tensor:
        """How frequent each answer is in the source, of those that are known: [all answers]; all alike where none is."""
        counts = [
            torch.bincount(self.truth[:, k].clamp_min(-1) + 1, minlength=size + 1)[1:] for k, size in enumerate(self.sizes)
        ]
        equal = self.equal_shares().split(self.sizes)
        return torch.cat([count / total if (total := count.sum()) else same for count, same in zip(counts, equal, strict=True)])


def agreement(logits: Sequence[Tensor], answers: Sequence[Tensor], confidence: float) -> Tensor:
    """Cross-entropy with the likeliest answers where their probability is enough, averaged over images and questions."""
    terms = []
    for logit, answer in zip(logits, answers, strict=True):
        sure = (answer.amax(1) >= confidence).float()
        terms.append((sure * F.cross_entropy(logit, answer.argmax(1), reduction="none")).mean())
    return torch.stack(terms).mean()


def labels_of(source: ImageSet) -> Tensor:
    """The source's labels; DomtransError without at least two classes of them."""
    if source.labels is None or len(source.classes) < 2:
        raise DomtransError(
            "f is fitted on source labels, but the source has none (or one class); give it labels, "
            "or load f with encoder.weights=FILE, or take a ready encoder with fit=none"
        )
    return source.labels
