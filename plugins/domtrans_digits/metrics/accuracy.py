"""The scores for digits: does a classifier of real handwriting read G(x) as the digit that x shows? Does f?"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from domtrans import AugmentationOption, ImageSet, MetricInput, NotMeasurableError, to_channels, to_float, to_uint8
from domtrans_digits.metrics.evaluators import HANDWRITING, Rate, evaluator_of, read, share

Found = dict[str, float | int | list[float | None] | list[list[int]]]


def digit_accuracy(
    inputs: MetricInput,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: Rate = 3e-3,
    view: AugmentationOption = HANDWRITING,
    of: Literal["transferred", "original"] = "transferred",
) -> Found:
    """Transfer accuracy, by an evaluator fitted on the labelled target training images.

    Gives ``accuracy``: share of source test images whose transfer the evaluator reads as the source's label;
    ``per_class``: the same of every class (none where it has no images); ``confusion``: [label][what was read], counts;
    ``encoder_accuracy``: share that f's own head reads rightly in the source images (absent without a head);
    ``evaluator_accuracy``: the evaluator's own, on real target test images; ``n``: number of source test images.
    ``steps``: of fitting the evaluator; by default 800, or 2,500 for more than 10,000 images. ``batch_size``: images in a
    step. ``lr``: AdamW's learning rate, with cosine decay. ``view``: how the evaluator sees images while it is fitted.
    ``of``: what it reads, G(x), or x itself, for comparison.
    Raises NotMeasurableError where labels are missing or the source has classes that the target does not.
    """
    source, train, test = inputs.source, inputs.target_train, inputs.target_test
    check_labels(inputs, "digit-accuracy")
    if source.classes != train.classes[: len(source.classes)]:
        raise NotMeasurableError(
            f"digit-accuracy needs the source's classes in the target too; the source has {len(source.classes)} "
            f"({', '.join(source.classes[:12])}), the target {len(train.classes)} ({', '.join(train.classes[:12])})"
        )
    evaluator = evaluator_of(train, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    shown = inputs.transferred if of == "transferred" else in_channels(source, train.channels)
    found = read(evaluator, shown, inputs.session)
    confusion = count(found, source.labels, len(source.classes), len(train.classes))
    results: Found = {
        "accuracy": share(found, source.labels),
        "evaluator_accuracy": share(read(evaluator, test, inputs.session), test.labels),
        "n": len(source),
        "per_class": [round(row[k] / sum(row), 4) if sum(row) else None for k, row in enumerate(confusion)],
        "confusion": confusion,
    }
    if inputs.transfer.encoder.has_head():
        results["encoder_accuracy"] = share(read(Head(inputs), source, inputs.session), source.labels)
    return results


def f_consistency(inputs: MetricInput) -> dict[str, float | int]:
    """Whether f sees in G(x) what it sees in x: the share of source test images whose class, by f's own head, is kept.

    Gives ``f_consistency`` and ``n``. It needs no labels and no evaluator, and is fooled by drawings that only f reads so.
    Raises NotMeasurableError for an f without a head.
    """
    if not inputs.transfer.encoder.has_head():
        raise NotMeasurableError("f-consistency needs an f with a classification head")
    seen = [read(Head(inputs), images, inputs.session) for images in (inputs.source, inputs.transferred)]
    return {"f_consistency": share(seen[1], seen[0]), "n": len(inputs.source)}


class Head(nn.Module):
    """f with its own head, as a classifier."""

    def __init__(self, inputs: MetricInput) -> None:
        super().__init__()
        self.encoder = inputs.transfer.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Images to f's class logits [B, K]."""
        return self.encoder.classify(self.encoder(images))


def check_labels(inputs: MetricInput, metric: str) -> None:
    """Raise NotMeasurableError unless source and target have labels."""
    for name, images in (("source", inputs.source), ("target", inputs.target_train)):
        if images.labels is None:
            raise NotMeasurableError(f"{metric} needs labels of the {name}, which has none")


def in_channels(images: ImageSet, channels: int) -> ImageSet:
    """The images themselves, grey or RGB, as the target's are."""
    pixels = torch.cat([to_uint8(to_channels(to_float(block), channels)).cpu() for block in images.blocks()])
    return ImageSet(pixels, images.labels, images.classes)


def count(found: Tensor, labels: Tensor | None, rows: int, columns: int) -> list[list[int]]:
    """How often each class was read for each label."""
    assert labels is not None
    table = torch.bincount(labels.cpu() * columns + found, minlength=rows * columns)
    counts: list[list[int]] = table.view(rows, columns).tolist()
    return counts
