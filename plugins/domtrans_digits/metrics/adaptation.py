"""Unsupervised domain adaptation: the accuracy of a classifier trained on transferred images and source labels."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from domtrans import AugmentationOption, MetricInput, NotMeasurableError, align_labels, list_names
from domtrans_digits.metrics.accuracy import check_labels, occurring_classes
from domtrans_digits.metrics.evaluators import HANDWRITING_VIEW, fit_digit_evaluator, predict_classes, share_correct


def adaptation_accuracy(
    inputs: MetricInput,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: PositiveFloat = 3e-3,
    view: AugmentationOption = HANDWRITING_VIEW,
) -> dict[str, float | int]:
    """Accuracy on real target test images of a classifier trained on transferred source images with the source's labels.

    The paper's domain adaptation (section 5.1, table 2). No target label is used for training. By default the
    source's test split is transferred; for the training split evaluate with
    ``source=subset source.of=... source.drawn_from=train``. The value is not comparable with digit-accuracy: images that
    look wrong, but alike for each digit, hardly lower it.

    Args:
        steps: Steps of training the classifier, a DigitEvaluator; by default 800, or 2,500 for more than 10,000 images.
        batch_size: Images per step.
        lr: Learning rate of AdamW, with cosine decay.
        view: Augmentation of the training images.

    Returns:
        - ``adaptation_accuracy``: accuracy on real target test images
        - ``n``: number of target test images of the source's classes
        - ``n_transferred``: number of training images

    Raises:
        NotMeasurableError: If labels are missing, or the domains have other classes, compared by name.
    """
    check_labels(inputs, "adaptation-accuracy")
    source, test = inputs.source, inputs.target_test
    lacking = [name for name in occurring_classes(inputs.target_train) if name not in source.classes]
    lacking += [name for name in occurring_classes(source) if name not in test.classes]
    if lacking:
        counts = f"the source has {len(source.classes)}, the target {len(test.classes)}"
        raise NotMeasurableError(
            f"adaptation-accuracy needs the same classes in both domains, but one lacks {list_names(lacking)}; {counts}"
        )
    train = inputs.transferred
    classifier = fit_digit_evaluator(train, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    labels = align_labels(test, source.classes)
    known = labels >= 0
    if not bool(known.any()):
        raise NotMeasurableError("adaptation-accuracy needs target test images of the source's classes, and there are none")
    accuracy = share_correct(predict_classes(classifier, test, inputs.session)[known], labels[known])
    return {"adaptation_accuracy": accuracy, "n": int(known.sum()), "n_transferred": len(train)}
