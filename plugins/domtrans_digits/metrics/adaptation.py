"""Unsupervised domain adaptation: what a classifier is worth that has seen transferred images and source labels alone."""

from __future__ import annotations

from pydantic import PositiveInt

from domtrans import AugmentationOption, MetricInput, NotMeasurableError
from domtrans_digits.metrics.accuracy import check_labels
from domtrans_digits.metrics.evaluators import HANDWRITING, Rate, evaluator_of, read, share


def adaptation_accuracy(
    inputs: MetricInput,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: Rate = 3e-3,
    view: AugmentationOption = HANDWRITING,
) -> dict[str, float | int]:
    """Accuracy on real target test images of a classifier trained on transferred source images with the source's labels.

    No target label is used to train it (section 5.1 of the paper, "unsupervised domain adaptation"). Which source images are
    transferred is the evaluation's choice: its test split as it is, its training split with
    ``source=subset source.of=... source.drawn_from=train``. It says something else than digit-accuracy and compares with
    other figures only: images that are wrong but alike for every digit cost it little, and the other way round.
    Gives ``adaptation_accuracy``, ``n``: number of target test images, ``n_transferred``: number of images trained on.
    ``steps``: of training the classifier, a DigitEvaluator; by default 800, or 2,500 for more than 10,000 images.
    ``batch_size``: images in a step. ``lr``: AdamW's learning rate, with cosine decay. ``view``: how it sees images.
    Raises NotMeasurableError where labels are missing or the two domains have other classes.
    """
    check_labels(inputs, "adaptation-accuracy")
    source, test = inputs.source, inputs.target_test
    if source.classes != test.classes:
        counts = f"the source has {len(source.classes)}, the target {len(test.classes)}"
        raise NotMeasurableError(f"adaptation-accuracy needs the same classes in both domains; {counts}")
    made = inputs.transferred
    classifier = evaluator_of(made, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    accuracy = share(read(classifier, test, inputs.session), test.labels)
    return {"adaptation_accuracy": accuracy, "n": len(test), "n_transferred": len(made)}
