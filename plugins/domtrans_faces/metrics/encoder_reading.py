"""The accuracy of f's attribute heads on both domains."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from domtrans import Attribute, ImageSet, MetricInput, NotMeasurableError, head_sizes, predict
from domtrans_faces.metrics.avatars import balanced_accuracy, confusion_matrix


def f_reading(inputs: MetricInput) -> dict[str, float | int]:
    """Accuracy of f's attribute heads on source test images and on real target test images.

    G(x) can only have those attributes of x that f recognises in x, and g can only learn attributes that f recognises in
    target images.

    Returns:
        For each attribute, e.g. skin, in the domains where it is known:

        - ``f_skin_source_accuracy``, ``f_skin_target_accuracy``: balanced accuracy, the mean over the values that occur

        And:

        - ``n``: number of source test images
        - ``n_target``: number of target test images

    Raises:
        NotMeasurableError: If f has no attribute heads, or neither domain has any of its attributes.
    """
    domains = {"source": inputs.source, "target": inputs.target_test}
    accuracies = {
        f"f_{name}_{domain}_accuracy": value
        for domain, images in domains.items()
        for name, value in head_accuracies(inputs, images).items()
    }
    if not accuracies:
        raise NotMeasurableError("f-reading needs an f with attribute heads, and a source or a target with its attributes")
    return accuracies | {"n": len(inputs.source), "n_target": len(inputs.target_test)}


def head_accuracies(inputs: MetricInput, images: ImageSet) -> dict[str, float]:
    """Balanced accuracy of f's heads by attribute, for the attributes that are known of the images."""
    f = inputs.transfer.encoder
    heads = f.encoder.heads
    attributes = {name: images.attributes.get(name) for name in heads}
    known = {name: one for name, one in attributes.items() if one is not None and is_measurable(one, heads[name])}
    if not known:
        return {}
    features = predict(f, images, inputs.session)
    with torch.no_grad():
        logits = f.classify(features.to(inputs.session.device)).cpu().split(head_sizes(heads), 1)
    predicted = dict(zip(heads, (logit.argmax(1) for logit in logits), strict=True))
    confusion = {name: confusion_matrix(one.index, predicted[name], len(one.values)) for name, one in known.items()}
    return {name: round(balanced_accuracy(counts), 4) for name, counts in confusion.items()}


def is_measurable(attribute: Attribute, values: Sequence[str] | int) -> bool:
    """Whether the attribute has the values of f's head, and is known of some image."""
    return not isinstance(values, int) and tuple(attribute.values) == tuple(values) and bool((attribute.index >= 0).any())
