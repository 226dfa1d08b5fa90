"""Digit classifiers used as evaluators: fitting, caching and predicting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import Augmentation, Evaluator, ImageSet, Session, fit_evaluator, predict, seeded
from domtrans_digits.networks.dtn import DigitEvaluator

HANDWRITING_VIEW: Mapping[str, Any] = {
    "name": "chain",
    "steps": [{"name": "warp", "rotate": 0.25, "scale": 0.15, "shear": 0.25, "shift": 0.1, "elastic": 0.03}],
}
"""Augmentation of handwriting for fitting classifiers."""


def fit_digit_evaluator(
    images: ImageSet, session: Session, *, steps: int | None, batch_size: int, lr: float, view: Augmentation
) -> DigitEvaluator:
    """A DigitEvaluator fitted on labelled images, or loaded from the cache.

    It does not depend on the run's seed, so that all runs are measured alike. ``steps`` is 800 by default, or 2,500 for
    more than 10,000 images.
    """
    steps = steps or (800 if len(images) <= 10_000 else 2_500)
    with seeded(0):
        evaluator = DigitEvaluator(images.channels, len(images.classes)).to(session.device)
        fit_classifier(evaluator, images, session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    return evaluator


def fit_classifier(classifier: Evaluator, images: ImageSet, session: Session, **options: Any) -> None:
    """Fit a classifier on labelled images, or load it from the cache; ``options`` are those of ``fit_evaluator``."""
    assert images.labels is not None
    labels = images.labels.to(session.device)

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels[index], label_smoothing=0.05)

    fit_evaluator(classifier, images, session, loss, **options)


def predict_classes(classifier: nn.Module, images: ImageSet, session: Session) -> Tensor:
    """The predicted class of every image, int64 [N], on the CPU."""
    return predict(classifier, images, session).argmax(1)


def share_correct(predicted: Tensor, labels: Tensor | None) -> float:
    """Share of correct predictions, rounded to four decimals."""
    assert labels is not None
    return round((predicted == labels.cpu()).double().mean().item(), 4)
