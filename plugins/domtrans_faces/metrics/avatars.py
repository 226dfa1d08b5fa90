"""The scores of avatars: have they the attributes of the faces that they were made from? Are they like real ones, as varied?"""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor

from domtrans import (
    Attribute,
    Augmentation,
    AugmentationOption,
    MetricInput,
    NotMeasurableError,
    frechet_distance,
    kernel_distance,
    spread,
)
from domtrans_faces.metrics.evaluator import SEEN, evaluator_of, features, read

Found = dict[str, float | int | list[list[int]]]

STEPS, BATCH_SIZE = 900, 48
"""Of fitting the evaluator, by default."""


def attribute_agreement(
    inputs: MetricInput,
    *,
    attributes: list[str] | None = None,
    steps: PositiveInt = STEPS,
    batch_size: PositiveInt = BATCH_SIZE,
    view: AugmentationOption = SEEN,
) -> Found:
    """Whether an avatar has the attributes of the face that it was made from, read by a network that no loss has seen.

    The evaluator is fitted on real avatars with their attributes. Values of source and target are matched by their words; a
    face of which an attribute is unknown, or has a value that the target does not know, counts for nothing there.
    Gives for each attribute, e.g. ``skin``: ``skin_balanced_accuracy``, the mean over its values of the share of faces whose
    avatar is read as having the value; ``skin_chance_accuracy``, what a G that does not see the face gets, 1 over the number
    of values that occur; ``skin_evaluator_accuracy``, the evaluator's own balanced accuracy on real test avatars, which is as
    much as G can get; ``skin_confusion``: [what the face shows][what was read], counts, in the order of the target's values.
    The first three also as ``attribute_...``, means over all of them. ``n``: number of source test images.
    ``attributes``: which ones; by default all that both domains have. ``steps``: of fitting the evaluator.
    ``batch_size``: images in a step. ``view``: how the evaluator sees avatars while it is fitted.
    Raises NotMeasurableError where source and target have no such attribute in common.
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
    evaluator = evaluator_of(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, view=view)
    made, real = (
        dict(zip(inputs.target_train.attributes, read(evaluator, images, inputs.session), strict=True))
        for images in (inputs.transferred, inputs.target_test)
    )
    results: Found = {"n": len(inputs.source)}
    scores = []
    for name in names:
        confusion = count(shared_words(source[name], target[name]), made[name], len(target[name].values))
        score = {
            "balanced_accuracy": balanced_accuracy(confusion),
            "chance_accuracy": 1 / max(1, int((confusion.sum(1) > 0).sum())),
            "evaluator_accuracy": balanced_accuracy(count(target[name].index, real[name], len(target[name].values))),
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
    view: AugmentationOption = SEEN,
) -> dict[str, float | int]:
    """How close G(x) of the source test images is, as a set, to real test avatars, in features of the evaluator.

    The features are the last hidden layer of attribute-agreement's evaluator, 128 numbers, so no figure compares with one on
    Inception's features. Gives ``fid``: Frechet distance of two Gaussians (Heusel et al. 2017); ``kid``: unbiased squared MMD,
    cubic kernel, the mean of 50 subsets of at most 500 images (Binkowski et al. 2018); both are near 0 for equal
    distributions. ``fid_of_real``: between as many real training avatars and the real test avatars, the least to be expected.
    ``n``: number of transferred images.
    ``steps``, ``batch_size``, ``view``: of fitting the evaluator, as for attribute-agreement.
    Raises NotMeasurableError where the target has no attributes to fit it on.
    """
    made, real, train = seen(inputs, steps=steps, batch_size=batch_size, view=view)
    figures = {
        "fid": frechet_distance(made, real),
        "kid": kernel_distance(made, real),
        "fid_of_real": frechet_distance(train, real),
    }
    return {name: round(value, 5) for name, value in figures.items()} | {"n": len(made)}


def avatar_diversity(
    inputs: MetricInput,
    *,
    steps: PositiveInt = STEPS,
    batch_size: PositiveInt = BATCH_SIZE,
    view: AugmentationOption = SEEN,
) -> dict[str, float | int]:
    """How varied G(x) is over the source test images, beside real test avatars, in features of the evaluator.

    Gives ``diversity``: mean distance of two transferred images over that of two real ones: 0 where G always draws the same
    face, little where it draws nearly the same, 1 where it is as varied as the target. ``n``: number of transferred images.
    ``steps``, ``batch_size``, ``view``: of fitting the evaluator, as for attribute-agreement.
    Raises NotMeasurableError where the target has no attributes to fit it on.
    """
    made, real, _ = seen(inputs, steps=steps, batch_size=batch_size, view=view)
    return {"diversity": round(spread(made) / max(spread(real), 1e-6), 5), "n": len(made)}


def seen(inputs: MetricInput, *, steps: int, batch_size: int, view: Augmentation) -> list[Tensor]:
    """The evaluator's features [N, 128] of transferred images, of real test avatars, and of as many real training avatars."""
    evaluator = evaluator_of(inputs.target_train, inputs.session, steps=steps, batch_size=batch_size, view=view)
    sets = (inputs.transferred, inputs.target_test, inputs.target_train.some(len(inputs.target_test)))
    return [features(evaluator, images, inputs.session) for images in sets]


def shared_words(source: Attribute, target: Attribute) -> Tensor:
    """The source's values as places in the target's list of values, int64 [N]; -1 for a value that is not in it."""
    places = source.index.new_tensor([target.values.index(value) if value in target.values else -1 for value in source.values])
    return places[source.index].where(source.index >= 0, -1)


def count(shown: Tensor, read: Tensor, values: int) -> Tensor:
    """Counts [what is shown][what was read], int64 [values, values]; what is unknown (-1) is left out."""
    known = shown.cpu() >= 0
    return (shown.cpu()[known] * values + read[known]).bincount(minlength=values * values).view(values, values)


def balanced_accuracy(confusion: Tensor) -> float:
    """The mean over the values that occur of the share that was read rightly; 0 where none occurs."""
    occurs = confusion.sum(1) > 0
    return float((confusion.diag()[occurs] / confusion.sum(1)[occurs]).double().mean()) if occurs.any() else 0.0
