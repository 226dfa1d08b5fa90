"""Classifiers of digits for measuring: how they are fitted, kept, and asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from domtrans import Augmentation, Evaluator, ImageSet, Session, fit_evaluator, predict, seeded
from domtrans_digits.networks.dtn import DigitEvaluator

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


def fit(reader: Evaluator, images: ImageSet, session: Session, **options: Any) -> None:
    """Fit a classifier on labelled images, or load it from the cache; ``options``: of ``domtrans.fit_evaluator``."""
    assert images.labels is not None
    labels = images.labels.to(session.device)

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels[index], label_smoothing=0.05)

    fit_evaluator(reader, images, session, loss, **options)


def read(classifier: nn.Module, images: ImageSet, session: Session) -> Tensor:
    """The class that a classifier sees in every image, int64 [N], on the CPU."""
    return predict(classifier, images, session).argmax(1)


def share(found: Tensor, labels: Tensor | None) -> float:
    """Share of predictions that are right, rounded to four places."""
    assert labels is not None
    return round((found == labels.cpu()).double().mean().item(), 4)
