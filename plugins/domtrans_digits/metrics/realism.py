"""How G(x) looks beside real images as a set: distances between distributions, and how varied it is."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveInt
from torch import Tensor

from domtrans import AugmentationOption, MetricInput, NotMeasurableError, frechet_distance, kernel_distance, predict, spread
from domtrans_digits.metrics.evaluators import HANDWRITING, Rate, evaluator_of, read


def digit_realism(
    inputs: MetricInput,
    *,
    steps: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    lr: Rate = 3e-3,
    view: AugmentationOption = HANDWRITING,
) -> dict[str, float | int]:
    """How close G(x) of the source test images is to real target test images, in features of digit-accuracy's evaluator.

    The features are the evaluator's last hidden layer, 96 numbers, so no figure compares with one on Inception's features.
    Gives ``fid``: Frechet distance of two Gaussians (Heusel et al. 2017); ``kid``: unbiased squared MMD, cubic kernel, the
    mean of 50 subsets of at most 500 images (Binkowski et al. 2018); both are near 0 for equal distributions.
    ``diversity``: mean distance of two transferred images over that of two real ones: 0 where G always draws the same.
    ``class_diversity``: likewise of two images that the evaluator reads as one digit: near 0 where G knows one image a digit
    (absent where no digit is read twice). ``n``: number of transferred images.
    ``steps``, ``batch_size``, ``lr``, ``view``: of fitting the evaluator, as for digit-accuracy.
    Raises NotMeasurableError where the target has no labels to fit it on.
    """
    if inputs.target_train.labels is None:
        raise NotMeasurableError("digit-realism needs labels of the target, which has none")
    evaluator = evaluator_of(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    sets = (inputs.transferred, inputs.target_test)
    made, real = (predict(partial(evaluator, hidden=True), images, inputs.session) for images in sets)
    results: dict[str, float | int] = {
        "fid": frechet_distance(made, real),
        "kid": kernel_distance(made, real),
        "diversity": spread(made) / max(spread(real), 1e-6),
        "n": len(made),
    }
    within = [spread_within(x, read(evaluator, images, inputs.session)) for x, images in zip((made, real), sets, strict=True)]
    if within[0] is not None and within[1]:
        results["class_diversity"] = within[0] / within[1]
    return {name: round(value, 5) for name, value in results.items()}


def spread_within(points: Tensor, groups: Tensor) -> float | None:
    """The mean over groups of ``spread``; None where no group has two points."""
    members = [points[groups == group] for group in groups.unique()]
    spreads = [spread(each) for each in members if len(each) > 1]
    return sum(spreads) / len(spreads) if spreads else None
