"""What f itself reads: before g is asked why an avatar has no glasses, f should be asked whether it sees any."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from domtrans import Attribute, ImageSet, MetricInput, NotMeasurableError, head_sizes, predict
from domtrans_faces.metrics.avatars import balanced_accuracy, count


def f_reading(inputs: MetricInput) -> dict[str, float | int]:
    """How well f's heads read the attributes of source images and of real target images, both of the test split.

    G(x) can show no more of x than f reads in it, and nothing that f misreads in avatars can be asked of g. Gives, for each
    attribute that is known, e.g. ``f_skin_source_accuracy`` and ``f_skin_target_accuracy``: balanced accuracy, the mean over
    the values that occur. ``n``, ``n_target``: numbers of images.
    Raises NotMeasurableError for an f without attributes, and where neither domain knows any of them.
    """
    sides = {"source": inputs.source, "target": inputs.target_test}
    found = {
        f"f_{name}_{side}_accuracy": value for side, images in sides.items() for name, value in read(inputs, images).items()
    }
    if not found:
        raise NotMeasurableError("f-reading needs an f that tells attributes, and a source or a target with some of them")
    return found | {"n": len(inputs.source), "n_target": len(inputs.target_test)}


def read(inputs: MetricInput, images: ImageSet) -> dict[str, float]:
    """Balanced accuracy of f's heads on what is known of the images, by attribute."""
    f = inputs.transfer.encoder
    asked = {name: (values, images.attributes.get(name)) for name, values in f.encoder.heads.items()}
    known = {name: one for name, (values, one) in asked.items() if one is not None and is_known(one, values)}
    if not known:
        return {}
    features = predict(f, images, inputs.session)
    with torch.no_grad():
        logits = f.classify(features.to(inputs.session.device)).cpu().split(head_sizes(f.encoder.heads), 1)
    answers = dict(zip(asked, (logit.argmax(1) for logit in logits), strict=True))
    return {name: round(balanced_accuracy(count(one.index, answers[name], len(one.values))), 4) for name, one in known.items()}


def is_known(attribute: Attribute, values: Sequence[str] | int) -> bool:
    """Whether it means the same as f's, and is known of some image."""
    return not isinstance(values, int) and tuple(attribute.values) == tuple(values) and bool((attribute.index >= 0).any())
