"""Classifiers of digits for measuring: how they are fitted, kept, and asked."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import Augmentation, Batches, Evaluator, ImageSet, Session, Trial, seeded, to_float
from domtrans_digits.networks import DigitEvaluator

Rate = Annotated[float, Field(gt=0)]

HANDWRITING: Mapping[str, Any] = {
    "name": "chain",
    "steps": [{"name": "warp", "rotate": 0.25, "scale": 0.15, "shear": 0.25, "shift": 0.1, "elastic": 0.03}],
}
"""Views of handwriting that classifiers are fitted on."""


def evaluator_of(
    images: ImageSet, session: Session, *, steps: int | None, batch_size: int, lr: float, view: Augmentation
) -> DigitEvaluator:
    """A DigitEvaluator fitted on labelled images, or found in the cache.

    ``steps``: by default 800, or 2,500 for more than 10,000 images. It does not hang on the run's seed: the ruler is the
    same for every run.
    """
    steps = steps or (800 if len(images) <= 10_000 else 2_500)
    with seeded(0):
        evaluator = DigitEvaluator(images.channels, len(images.classes)).to(session.device)
        fit(evaluator, images, session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    return evaluator


def fit(
    reader: Evaluator,
    images: ImageSet,
    session: Session,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    view: Augmentation,
    seed: int = 0,
) -> None:
    """Fit a classifier on labelled images (AdamW, cosine decay, label smoothing 0.05), or load it from the cache."""
    assert images.labels is not None
    labels = images.labels.to(session.device)

    def learn() -> None:
        reader.train().to(memory_format=torch.channels_last)
        feed = session.feed(images, Batches(len(images), batch_size, seed=seed))
        optimizer = torch.optim.AdamW(reader.parameters(), lr, weight_decay=0.02, fused=True)
        rng = torch.Generator(session.device).manual_seed(seed)
        for step in range(steps):
            factor = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
            optimizer.param_groups[0]["lr"] = lr * factor
            index, batch = feed[step]
            with session.autocast():
                logits = reader(view(to_float(batch), rng)).float()
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 49:
                session.report(step + 1, steps, {"evaluator_loss": loss.item()})
        optimizer.zero_grad()  # the gradients of the last step would be kept as long as the reader

    key = {
        "images": images.fingerprint(),
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "view": identity(view),
        "seed": seed,
        "code": inspect.getsource(type(reader)) + inspect.getsource(fit),
    }
    session.cache.fitted(reader, "evaluators", key, learn)
    reader.eval()


def identity(view: Any) -> Any:
    """What an augmentation is, the same in every process: its name and its options."""
    if isinstance(view, functools.partial):
        return [view.func.__module__, view.func.__qualname__, {name: identity(value) for name, value in view.keywords.items()}]
    if isinstance(view, list | tuple):
        return [identity(item) for item in view]
    return view if view is None or isinstance(view, str | int | float) else repr(view)


def transferred(trial: Trial) -> ImageSet:
    """G of the trial's source images, with the source's labels."""
    source = trial.source
    return ImageSet(trial.transfer.apply_to(source), source.labels, source.classes)


@torch.no_grad()
def read(classifier: nn.Module, images: ImageSet, session: Session) -> Tensor:
    """The class that a classifier sees in every image, int64 [N], on the CPU."""
    blocks = (to_float(block.to(session.device)) for block in images.blocks())
    return torch.cat([classifier(block).argmax(1).cpu() for block in blocks])


@torch.no_grad()
def features(evaluator: DigitEvaluator, images: ImageSet, session: Session) -> Tensor:
    """The evaluator's last hidden layer for every image, float32 [N, 96], on the CPU."""
    blocks = (to_float(block.to(session.device)) for block in images.blocks())
    return torch.cat([evaluator(block, hidden=True).float().cpu() for block in blocks])


def share(found: Tensor, labels: Tensor | None) -> float:
    """Share of predictions that are right, rounded to four places."""
    assert labels is not None
    return round((found == labels.cpu()).double().mean().item(), 4)
