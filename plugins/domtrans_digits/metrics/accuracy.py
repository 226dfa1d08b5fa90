"""Transfer accuracy of digits, and whether f predicts the same class for x and G(x)."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from domtrans import (
    AugmentationOption,
    ImageSet,
    MetricInput,
    MetricValue,
    NotMeasurableError,
    align_labels,
    predict,
)
from domtrans_digits.metrics.evaluators import HANDWRITING_VIEW, fit_digit_evaluator, predict_classes, share_correct

VALUES = (
    MetricValue("encoder_accuracy", "accuracy of f", measures_g=False),
    MetricValue("accuracy", "transfer accuracy", main=True),
    MetricValue("evaluator_accuracy", "evaluator accuracy", measures_g=False),
)
"""How reports show the values of digit-accuracy."""

Results = dict[str, float | int | list[float | None] | list[list[int]] | None]


def digit_accuracy(
    inputs: MetricInput,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: PositiveFloat = 3e-3,
    view: AugmentationOption = HANDWRITING_VIEW,
    of: Literal["transferred", "original"] = "transferred",
) -> Results:
    """Transfer accuracy, measured by an evaluator fitted on the labelled target training images.

    The paper's accuracy for digits (section 5.1). Classes are compared by name.

    Args:
        steps: Steps of fitting the evaluator; by default 800, or 2,500 for more than 10,000 images.
        batch_size: Images per step.
        lr: Learning rate of AdamW, with cosine decay.
        view: Augmentation of the images while the evaluator is fitted.
        of: Images that the evaluator classifies: G(x), or x itself for comparison.

    Returns:
        - ``accuracy``: share of source test images whose transfer the evaluator assigns to the source's label
        - ``per_class``: the same for each class; none for a class without source test or target training images
        - ``confusion``: counts [label][prediction]
        - ``encoder_accuracy``: accuracy of f's own head on the source images of its classes; only of an f with one head
        - ``evaluator_accuracy``: accuracy of the evaluator on real target test images of the classes it was fitted on
        - ``n``: number of source test images whose class has target training images; the others are left out

    Raises:
        NotMeasurableError: If labels are missing, or the source has classes that the target lacks.
    """
    source, train, test = inputs.source, inputs.target_train, inputs.target_test
    check_labels(inputs, "digit-accuracy")
    assert train.labels is not None
    labels = align_labels(source, train.classes)
    if bool((labels < 0).any()):
        raise NotMeasurableError(
            f"digit-accuracy needs the source's classes in the target too; the source has {len(source.classes)} "
            f"({', '.join(source.classes[:12])}), the target {len(train.classes)} ({', '.join(train.classes[:12])})"
        )
    evaluator = fit_digit_evaluator(train, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    images = inputs.transferred if of == "transferred" else source.in_channels(train.channels)
    predicted = predict_classes(evaluator, images, inputs.session)
    confusion = confusion_matrix(predicted, source.labels, len(source.classes), len(train.classes))
    fitted = torch.isin(labels, train.labels.cpu().unique())  # the evaluator cannot know a class without training images
    if not bool(fitted.any()):
        raise NotMeasurableError("digit-accuracy needs target training images of the source's classes, and there are none")
    results: Results = {
        "accuracy": share_correct(predicted[fitted], labels[fitted]),
        "evaluator_accuracy": share_of_known(predict_classes(evaluator, test, inputs.session), test, train),
        "n": int(fitted.sum()),
        "per_class": per_class_shares(predicted[fitted], labels[fitted], source.take(fitted.nonzero()[:, 0])),
        "confusion": confusion,
    }
    if len(inputs.transfer.encoder.encoder.heads) == 1:
        own = predict_classes(EncoderClassifier(inputs), source, inputs.session)
        aligned = align_labels(source, inputs.head_classes or source.classes)
        if bool((aligned >= 0).any()):
            results["encoder_accuracy"] = share_correct(own[aligned >= 0], aligned[aligned >= 0])
    return results


def f_consistency(inputs: MetricInput) -> dict[str, float | int]:
    """Share of source test images for which f's own head predicts the same class in x and G(x); of several heads, the mean.

    It needs no labels and no evaluator, but counts images that only f takes for the right class.

    Returns:
        - ``f_consistency``: share of source test images x for which f's own head predicts the same class in x and G(x)
        - ``n``: number of source test images

    Raises:
        NotMeasurableError: If f has no head.
    """
    f = inputs.transfer.encoder
    if not f.has_head():
        raise NotMeasurableError("f-consistency needs an f with a classification head")
    predicted = partial(predict, lambda images: f.predictions(f(images)), session=inputs.session)
    before, after = predicted(inputs.source), predicted(inputs.transferred)
    return {"f_consistency": share_correct(after, before), "n": len(inputs.source)}


class EncoderClassifier(nn.Module):
    """f with its own head, as a classifier."""

    def __init__(self, inputs: MetricInput) -> None:
        super().__init__()
        self.encoder = inputs.transfer.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to class logits [B, K]."""
        return self.encoder.classify(self.encoder(images))


def occurring_classes(images: ImageSet) -> list[str]:
    """The classes that have images, in order."""
    assert images.labels is not None
    return [images.classes[k] for k in images.labels.unique().tolist()]


def share_of_known(predicted: Tensor, images: ImageSet, known: ImageSet) -> float | None:
    """Share of correct predictions among the images whose class has images in ``known``; None if there are none.

    Args:
        predicted: int64 [N], classes of ``known``.
        images: N images with labels.
        known: The images that the classifier was fitted on.
    """
    assert known.labels is not None
    labels = align_labels(images, known.classes)
    measured = torch.isin(labels, known.labels.cpu().unique())
    return share_correct(predicted[measured], labels[measured]) if bool(measured.any()) else None


def per_class_shares(predicted: Tensor, labels: Tensor, source: ImageSet) -> list[float | None]:
    """Share of correct predictions for each class of the source; None for a class without images."""
    assert source.labels is not None
    own = source.labels.cpu()
    groups = [own == k for k in range(len(source.classes))]
    return [share_correct(predicted[group], labels[group]) if bool(group.any()) else None for group in groups]


def check_labels(inputs: MetricInput, metric: str) -> None:
    """Raise NotMeasurableError unless source and target have labels."""
    for name, images in (("source", inputs.source), ("target", inputs.target_train), ("target", inputs.target_test)):
        if images.labels is None:
            raise NotMeasurableError(f"{metric} needs labels of the {name}, which has none")


def confusion_matrix(predicted: Tensor, labels: Tensor | None, rows: int, columns: int) -> list[list[int]]:
    """Counts [label][prediction]."""
    assert labels is not None
    flat = torch.bincount(labels.cpu() * columns + predicted, minlength=rows * columns)
    counts: list[list[int]] = flat.view(rows, columns).tolist()
    return counts
