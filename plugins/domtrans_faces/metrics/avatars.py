"""Metrics of avatars: agreement of attributes with the source, realism and diversity."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from domtrans import (
    Attribute,
    Augmentation,
    AugmentationOption,
    MetricInput,
    MetricValue,
    NotMeasurableError,
    frechet_distance,
    kernel_distance,
    spread,
)
from domtrans_faces.metrics.evaluator import EVALUATOR_VIEW, fit_avatar_evaluator, hidden_features, predict_attributes

Results = dict[str, float | int | list[list[int]]]

VALUES = (
    MetricValue("attribute_balanced_accuracy", "attribute balanced accuracy", main=True),
    MetricValue("attribute_chance_accuracy", "attribute chance accuracy", measures_g=False),
    MetricValue("attribute_evaluator_accuracy", "attribute evaluator accuracy", measures_g=False),
    MetricValue("{attribute}_balanced_accuracy", "balanced accuracy"),
    MetricValue("{attribute}_chance_accuracy", "chance", measures_g=False),
    MetricValue("{attribute}_evaluator_accuracy", "evaluator", measures_g=False),
)
"""How reports show the values of attribute-agreement."""

STEPS, BATCH_SIZE = 900, 48
"""Defaults for fitting the evaluator."""


def attribute_agreement(
    inputs: MetricInput,
    *,
    attributes: list[str] | None = None,
    steps: PositiveInt = STEPS,
    batch_size: PositiveInt = BATCH_SIZE,
    view: AugmentationOption = EVALUATOR_VIEW,
) -> Results:
    """Whether an avatar has the attributes of its source face, predicted by a network that no loss uses.

    The evaluator is fitted on real avatars with their attributes. Values of source and target are matched by name. A face
    is ignored for an attribute that is unknown, or has a value that the target lacks.

    Args:
        attributes: Attributes to measure; by default all that both domains have.
        steps: Steps of fitting the evaluator.
        batch_size: Images per step.
        view: Augmentation of the avatars while the evaluator is fitted.

    Returns:
        For each attribute, e.g. ``skin_balanced_accuracy``:

        - ``{attribute}_balanced_accuracy``: mean over its values of the share of faces whose avatar is predicted to have the
          value
        - ``{attribute}_chance_accuracy``: the same for a G that ignores the face: 1 over the number of values that occur
        - ``{attribute}_evaluator_accuracy``: balanced accuracy of the evaluator on real test avatars, an upper bound for G
        - ``{attribute}_confusion``: counts [true value][predicted value], in the order of the target's values

        And overall:

        - ``attribute_balanced_accuracy``: mean of the balanced accuracy over the attributes
        - ``attribute_chance_accuracy``: mean of the chance accuracy over the attributes
        - ``attribute_evaluator_accuracy``: mean of the evaluator's accuracy over the attributes
        - ``n``: number of source test images

    Raises:
        NotMeasurableError: If source and target have no attribute in common, or lack a requested one.
    """
    source = {name: one for name, one in inputs.source.attributes.items() if bool((one.index >= 0).any())}
    target = inputs.target_test.attributes
    names = [name for name in target if name in source] if attributes is None else attributes
    missing = [name for name in names if name not in source or name not in target]
    if missing or not names:
        wanted = f"the attribute '{missing[0]}'" if missing else "an attribute"
        raise NotMeasurableError(
            f"attribute-agreement needs {wanted} of both domains; the source has {', '.join(source) or 'none'}, "
            f"the target {', '.join(target) or 'none'}"
        )
    evaluator = fit_avatar_evaluator(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, view=view)
    fake, real = (
        dict(zip(inputs.target_train.attributes, predict_attributes(evaluator, images, inputs.session), strict=True))
        for images in (inputs.transferred, inputs.target_test)
    )
    results: Results = {"n": len(inputs.source)}
    scores = []
    for name in names:
        size = len(target[name].values)
        confusion = confusion_matrix(target_indices(source[name], target[name]), fake[name], size)
        score = {
            "balanced_accuracy": balanced_accuracy(confusion),
            "chance_accuracy": 1 / max(1, int((confusion.sum(1) > 0).sum())),
            "evaluator_accuracy": balanced_accuracy(confusion_matrix(target[name].index, real[name], size)),
        }
        scores.append(score)
        results |= {f"{name}_{key}": round(value, 4) for key, value in score.items()}
        results[f"{name}_confusion"] = confusion.tolist()
    means = {f"attribute_{key}": round(sum(score[key] for score in scores) / len(scores), 4) for key in scores[0]}
    return means | results


def avatar_realism(
    inputs: MetricInput,
    *,
    steps: PositiveInt = STEPS,
    batch_size: PositiveInt = BATCH_SIZE,
    view: AugmentationOption = EVALUATOR_VIEW,
) -> dict[str, float | int]:
    """Distances between G(x) of the source test images and real test avatars, in the evaluator's features.

    The features are the last hidden layer of attribute-agreement's evaluator, 128 numbers, so the values cannot be compared
    with those on Inception features.

    Args:
        steps: Steps of fitting the evaluator.
        batch_size: Images per step.
        view: Augmentation of the avatars while the evaluator is fitted.

    Returns:
        - ``fid``: Frechet distance of two Gaussians (Heusel et al. 2017); near 0 for equal distributions
        - ``kid``: unbiased squared MMD with a cubic kernel, mean over 50 subsets of at most 500 images (Binkowski et al.
          2018); near 0 for equal distributions
        - ``fid_of_real``: FID between real test avatars and as many real training avatars, a lower bound in practice
        - ``n``: number of transferred images

    Raises:
        NotMeasurableError: If the target has no attributes.
    """
    fake, real, train = evaluator_features(inputs, steps=steps, batch_size=batch_size, view=view)
    distances = {
        "fid": frechet_distance(fake, real),
        "kid": kernel_distance(fake, real),
        "fid_of_real": frechet_distance(train, real),
    }
    return {name: round(value, 5) for name, value in distances.items()} | {"n": len(fake)}


def avatar_diversity(
    inputs: MetricInput,
    *,
    steps: PositiveInt = STEPS,
    batch_size: PositiveInt = BATCH_SIZE,
    view: AugmentationOption = EVALUATOR_VIEW,
) -> dict[str, float | int]:
    """Diversity of G(x) over the source test images, relative to real test avatars, in the evaluator's features.

    Args:
        steps: Steps of fitting the evaluator.
        batch_size: Images per step.
        view: Augmentation of the avatars while the evaluator is fitted.

    Returns:
        - ``diversity``: mean distance of two transferred images over that of two real ones: 0 if G is constant, small if
          all faces are nearly the same, 1 if they are as varied as the target
        - ``n``: number of transferred images

    Raises:
        NotMeasurableError: If the target has no attributes.
    """
    fake, real, _ = evaluator_features(inputs, steps=steps, batch_size=batch_size, view=view)
    return {"diversity": round(spread(fake) / max(spread(real), 1e-6), 5), "n": len(fake)}


def matched_realism(
    inputs: MetricInput,
    *,
    steps: PositiveInt = STEPS,
    batch_size: PositiveInt = BATCH_SIZE,
    view: AugmentationOption = EVALUATOR_VIEW,
) -> dict[str, float | int]:
    """What avatar-realism would be if every avatar were a real one with the attributes of its source face.

    Source and target differ in how often attributes occur, so the distance between G(x) and real avatars is not 0 where every
    attribute is transferred. For each source face, this takes a real training avatar that has as many of its attributes as
    any; one of them at random, always the same.

    Args:
        steps: Steps of fitting the evaluator.
        batch_size: Images per step.
        view: Augmentation of the avatars while the evaluator is fitted.

    Returns:
        - ``fid_of_matched``: FID between these avatars and real test avatars
        - ``fid_to_matched``: FID between G(x) and these avatars: how realistic G(x) is, apart from how often attributes occur
        - ``n``: number of source test images

    Raises:
        NotMeasurableError: If source and target have no attribute in common.
    """
    train = inputs.target_train
    names = [name for name in train.attributes if name in inputs.source.attributes]
    if not names:
        raise NotMeasurableError("matched-realism needs an attribute that both domains have")
    wanted = torch.stack([target_indices(inputs.source.attributes[name], train.attributes[name]) for name in names], 1).cpu()
    known = torch.stack([train.attributes[name].index for name in names], 1).cpu()
    ties = torch.rand(len(wanted), len(known), generator=torch.Generator().manual_seed(0)) / 2
    agreement = torch.stack([((known == row) & (row >= 0)).sum(1) for row in wanted])
    matched = train.take((agreement + ties).argmax(1))
    evaluator = fit_avatar_evaluator(train, inputs.session, steps=steps, batch_size=batch_size, view=view)
    sets = (matched, inputs.target_test, inputs.transferred)
    expected, real, fake = (hidden_features(evaluator, images, inputs.session) for images in sets)
    distances = {"fid_of_matched": frechet_distance(expected, real), "fid_to_matched": frechet_distance(fake, expected)}
    return {name: round(value, 5) for name, value in distances.items()} | {"n": len(wanted)}


def evaluator_features(inputs: MetricInput, *, steps: int, batch_size: int, view: Augmentation) -> list[Tensor]:
    """Features [N, 128] of transferred images, of real test avatars, and of as many real training avatars."""
    evaluator = fit_avatar_evaluator(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, view=view)
    sets = (inputs.transferred, inputs.target_test, inputs.target_train.some(len(inputs.target_test)))
    return [hidden_features(evaluator, images, inputs.session) for images in sets]


def target_indices(source: Attribute, target: Attribute) -> Tensor:
    """The source's values as indices into the target's values, int64 [N]; -1 if unknown or not among them."""
    indices = [target.values.index(value) if value in target.values else -1 for value in source.values]
    return source.index.new_tensor(indices)[source.index].where(source.index >= 0, -1)


def confusion_matrix(true: Tensor, predicted: Tensor, values: int) -> Tensor:
    """Counts [true value][predicted value], int64 [values, values], without unknown true values (-1)."""
    known = true.cpu() >= 0
    return (true.cpu()[known] * values + predicted[known]).bincount(minlength=values * values).view(values, values)


def balanced_accuracy(confusion: Tensor) -> float:
    """Mean of the accuracy over the values that occur; 0 if none occurs."""
    occurs = confusion.sum(1) > 0
    return float((confusion.diag()[occurs] / confusion.sum(1)[occurs]).double().mean()) if occurs.any() else 0.0
