"""Realism and diversity of transferred digits: distances between distributions, and spread."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from domtrans import AugmentationOption, MetricInput, NotMeasurableError, frechet_distance, kernel_distance, predict, spread
from domtrans_digits.metrics.evaluators import HANDWRITING_VIEW, fit_digit_evaluator, predict_classes


def digit_realism(
    inputs: MetricInput,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: PositiveFloat = 3e-3,
    view: AugmentationOption = HANDWRITING_VIEW,
) -> dict[str, float | int]:
    """Distances between G(x) of the source test images and real target test images, in the evaluator's features.

    The features are the last hidden layer of digit-accuracy's evaluator, 96 numbers, so the values cannot be compared with
    those on Inception features.

    Args:
        steps: Steps of fitting the evaluator; by default 800, or 2,500 for more than 10,000 images.
        batch_size: Images per step.
        lr: Learning rate of AdamW, with cosine decay.
        view: Augmentation of the images while the evaluator is fitted.

    Returns:
        - ``fid``: Frechet distance of two Gaussians (Heusel et al. 2017); near 0 for equal distributions
        - ``kid``: unbiased squared MMD with a cubic kernel, mean over 50 subsets of at most 500 images (Binkowski et al.
          2018); near 0 for equal distributions
        - ``diversity``: mean distance of two transferred images over that of two real ones; 0 if G is constant
        - ``class_diversity``: the same among images that the evaluator assigns to one class; near 0 if G draws one image
          per digit, absent if no digit occurs twice
        - ``n``: number of transferred images

    Raises:
        NotMeasurableError: If the target has no labels.
    """
    if inputs.target_train.labels is None:
        raise NotMeasurableError("digit-realism needs labels of the target, which has none")
    evaluator = fit_digit_evaluator(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    sets = (inputs.transferred, inputs.target_test)
    fake, real = (predict(partial(evaluator, hidden=True), images, inputs.session) for images in sets)
    results: dict[str, float | int] = {
        "fid": frechet_distance(fake, real),
        "kid": kernel_distance(fake, real),
        "diversity": spread(fake) / max(spread(real), 1e-6),
        "n": len(fake),
    }
    classes = (predict_classes(evaluator, images, inputs.session) for images in sets)
    fake_spread, real_spread = (spread_within(*pair) for pair in zip((fake, real), classes, strict=True))
    if fake_spread is not None and real_spread:
        results["class_diversity"] = fake_spread / real_spread
    return {name: round(value, 5) for name, value in results.items()}


def spread_within(points: Tensor, groups: Tensor) -> float | None:
    """Mean over groups of ``spread``; None if no group has two points."""
    members = [points[groups == group] for group in groups.unique()]
    spreads = [spread(group) for group in members if len(group) > 1]
    return sum(spreads) / len(spreads) if spreads else None
