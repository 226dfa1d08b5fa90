"""How G(x) looks beside real images as a set: distances between distributions, and how varied it is."""

from __future__ import annotations

import warnings

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from domtrans import AugmentationOption, NotMeasurableError, Trial, seeded
from domtrans_digits.readers import HANDWRITING, Rate, evaluator_of, features, read, transferred

SUBSET, SUBSETS = 500, 50
"""Of KID: images in a subset, at most, and number of subsets."""
LOOKED_AT = 2000
"""Images whose mutual distances are taken, at most, evenly over the set."""


def digit_realism(
    trial: Trial,
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
    if trial.target_train.labels is None:
        raise NotMeasurableError("digit-realism needs labels of the target, which has none")
    evaluator = evaluator_of(trial.target_train, trial.session, steps=steps, batch_size=batch_size, lr=lr, view=view)
    sets = (transferred(trial), trial.target_test)
    made, real = (features(evaluator, images, trial.session) for images in sets)
    results: dict[str, float | int] = {
        "fid": frechet(made, real),
        "kid": kernel(made, real),
        "diversity": spread(made) / max(spread(real), 1e-6),
        "n": len(made),
    }
    within = [spread_within(x, read(evaluator, images, trial.session)) for x, images in zip((made, real), sets, strict=True)]
    if within[0] is not None and within[1]:
        results["class_diversity"] = within[0] / within[1]
    return {name: round(value, 5) for name, value in results.items()}


class Precomputed(nn.Identity):
    """What torchmetrics takes for its feature network: the features are there already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size


def frechet(made: Tensor, real: Tensor) -> float:
    """FID of features [N, F] and [M, F], by torchmetrics."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=Precomputed(made.shape[1]))
    metric.update(made.double(), real=False)
    metric.update(real.double(), real=True)
    return max(0.0, float(metric.compute()))  # rounding may leave it a hair below


def kernel(made: Tensor, real: Tensor) -> float:
    """KID of features [N, F] and [M, F], by torchmetrics; the same subsets every time."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features in memory
        metric = KernelInceptionDistance(
            feature=Precomputed(made.shape[1]), subsets=SUBSETS, subset_size=min(SUBSET, len(made), len(real))
        )
    metric.update(made, real=False)
    metric.update(real, real=True)
    with seeded(0):
        return float(metric.compute()[0])


def spread(points: Tensor) -> float:
    """Mean distance between two of at most 2,000 points [N, F]."""
    chosen = points[torch.linspace(0, len(points) - 1, min(len(points), LOOKED_AT)).long()]
    return float(torch.pdist(chosen).double().mean()) if len(chosen) > 1 else 0.0


def spread_within(points: Tensor, groups: Tensor) -> float | None:
    """The mean over groups of ``spread``; None where no group has two points."""
    members = [points[groups == group] for group in groups.unique()]
    spreads = [spread(each) for each in members if len(each) > 1]
    return sum(spreads) / len(spreads) if spreads else None
