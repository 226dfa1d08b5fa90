"""Digit classifiers used as evaluators: fitting, caching and predicting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from domtrans import Augmentation, Evaluator, ImageSet, Session, fit_evaluator, predict
from domtrans_digits.networks.dtn import DigitEvaluator

Network = TypeVar("Network", bound=Evaluator)

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
    return fit_classifier(DigitEvaluator, images, session, steps=steps, batch_size=batch_size, lr=lr, view=view)


def fit_classifier(kind: Callable[[int, int], Network], images: ImageSet, session: Session, **options: Any) -> Network:
    """Fit a classifier on labelled images, or load it from the cache.

    Args:
        kind: Builds it: (channels, classes) -> network.
        images: The images.
        session: Device, cache and processes.
        options: Those of ``fit_evaluator``.
    """
    assert images.labels is not None
    labels = images.labels.to(session.device)

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels[index], label_smoothing=0.05)

    return fit_evaluator(lambda: kind(images.channels, len(images.classes)), images, session, loss, **options)


def predict_classes(classifier: nn.Module, images: ImageSet, session: Session) -> Tensor:
    """The predicted class of every image, int64 [N], on the CPU."""
    return predict(classifier, images, session).argmax(1)


def share_correct(predicted: Tensor, labels: Tensor | None) -> float:
    """Share of correct predictions, rounded to four decimals."""
    assert labels is not None
    return round((predicted == labels.cpu()).double().mean().item(), 4)
