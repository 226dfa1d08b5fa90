"""The accuracy of f's attribute heads on both domains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from domtrans import Attribute, ImageSet, MetricInput, MetricValue, NotMeasurableError, head_sizes, predict
from domtrans_faces.metrics.avatars import balanced_accuracy, confusion_matrix
from domtrans_faces.metrics.identity import gallery_and_probes
from domtrans_faces.metrics.lightness import correlation

VALUES = (
    MetricValue("f_{attribute}_source_accuracy", "f on source", measures_g=False),
    MetricValue("f_{attribute}_target_accuracy", "f on target", measures_g=False),
    MetricValue("n_target", "target test images", measures_g=False),
)
"""How reports show the values of f-reading."""


def f_reading(inputs: MetricInput) -> dict[str, float | int]:
    """Accuracy of f's attribute heads on source test images and on real target test images.

    G(x) can only have those attributes of x that f recognises in x, and g can only learn attributes that f recognises in
    target images.

    Returns:
        For each attribute, e.g. ``f_skin_source_accuracy``, in the domains where it is known:

        - ``f_{attribute}_source_accuracy``: balanced accuracy of f's head on the source, the mean over the values that occur
        - ``f_{attribute}_target_accuracy``: the same on the target

        If f has a head for skin and the source's class is the person:

        - ``f_skin_steadiness``: Spearman's rank correlation of the skin that f predicts, from light to dark, between two
          photographs of one person: how much of it belongs to the person and not to the light (compare ``skin_steadiness``
          of photo-likeness, which is that of the pixels)

        And:

        - ``n``: number of source test images
        - ``n_target``: number of target test images

    Raises:
        NotMeasurableError: If f has no attribute heads, or neither domain has any of its attributes.
    """
    heads = inputs.transfer.encoder.encoder.heads
    results: dict[str, float | int] = {}
    for domain, images in {"source": inputs.source, "target": inputs.target_test}.items():
        attributes = {name: images.attributes.get(name) for name in heads}
        known = {name: one for name, one in attributes.items() if one is not None and is_measurable(one, heads[name])}
        if not known:
            continue
        logits = head_logits(inputs, images)
        for name, attribute in known.items():
            confusion = confusion_matrix(attribute.index, logits[name].argmax(1), len(attribute.values))
            results[f"f_{name}_{domain}_accuracy"] = round(balanced_accuracy(confusion), 4)
        if domain == "source" and "skin" in known and images.labels is not None:
            first, second, _ = gallery_and_probes(images.labels.cpu(), len(images), 1)
            if len(first) > 2:
                darkness = logits["skin"].softmax(1) @ torch.linspace(0, 1, logits["skin"].shape[1])
                results["f_skin_steadiness"] = correlation(darkness[first], darkness[second])
    if not results:
        raise NotMeasurableError("f-reading needs an f with attribute heads, and a source or a target with its attributes")
    return results | {"n": len(inputs.source), "n_target": len(inputs.target_test)}


def head_logits(inputs: MetricInput, images: ImageSet) -> dict[str, Tensor]:
    """The logits of f's heads for every image, by attribute, on the CPU."""
    f = inputs.transfer.encoder
    features = predict(f, images, inputs.session)
    with torch.no_grad():
        logits = f.classify(features.to(inputs.session.device)).float().cpu()
    return dict(zip(f.encoder.heads, logits.split(head_sizes(f.encoder.heads), 1), strict=True))


def is_measurable(attribute: Attribute, values: Sequence[str] | int) -> bool:
    """Whether the attribute has the values of f's head, and is known of some image."""
    return not isinstance(values, int) and tuple(attribute.values) == tuple(values) and bool((attribute.index >= 0).any())
