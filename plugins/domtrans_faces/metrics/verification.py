"""Face verification: does a recogniser tell from an avatar and a photograph whether they show one person?"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt

from domtrans import EncoderOption, MetricInput, NotMeasurableError, predict
from domtrans_faces.metrics.identity import Recogniser

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def face_verification(
    inputs: MetricInput,
    *,
    encoder: EncoderOption,
    pairs: PositiveInt = 300,
    folds: Annotated[int, Field(ge=2)] = 10,
) -> dict[str, float | int]:
    """Whether a recogniser can tell if a photograph and an avatar show the same person, by the protocol of LFW.

    The people of the source's test split are divided into folds. Each fold has as many pairs of the same person as of two
    people. A pair is a photograph and an avatar; their score is the cosine of the recogniser's features, from which the means
    of the photographs and of the avatars of the other folds are subtracted. A pair whose score is above a threshold counts
    as the same person. The threshold of a fold is the best one for the other folds. G. Huang et al.: Labeled Faces in the
    Wild, University of Massachusetts, Technical Report 07-49, 2007.

    Args:
        encoder: The recogniser, with its published weights. Choose one that no loss of the run uses, because g may satisfy a
            recogniser that it is trained with in ways that nobody sees.
        pairs: Pairs of the same person in each fold, drawn at random, and as many of two people.
        folds: Number of folds.

    Returns:
        - ``verification_accuracy``: mean accuracy over the folds, if the avatar is that of the same photograph; chance is 0.5
        - ``verification_eer``: equal error rate over the pairs of all folds, where as many pairs of the same person are
          rejected as pairs of two people accepted; chance is 0.5
        - ``other_photo_verification_accuracy``, ``other_photo_verification_eer``: the same if the avatar is that of another
          photograph of the person
        - ``photo_verification_accuracy``, ``photo_verification_eer``: the same for two photographs instead of a photograph and
          an avatar, an upper bound for the recogniser
        - ``verification_people``: number of people
        - ``n``: number of pairs

    Raises:
        NotMeasurableError: If the source has no labels, or a fold would have less than two people with two photographs.
    """
    source, session = inputs.source, inputs.session
    if source.labels is None:
        raise NotMeasurableError("face-verification needs the person as the class of the source's images")
    people = source.labels.cpu().numpy()
    several = np.flatnonzero(np.bincount(people) > 1)
    if len(several) < 2 * folds:
        raise NotMeasurableError(
            f"face-verification needs {2 * folds} people with two photographs for {folds} folds, and the source's test images "
            f"have {len(several)}"
        )
    recogniser = Recogniser.of(encoder, source, session.device)
    photos = predict(recogniser, source, session).double().numpy()
    avatars = predict(recogniser, inputs.transferred, session).double().numpy()
    rng = np.random.default_rng(0)
    members = np.array_split(rng.permutation(several), folds)
    own, other = ([sample_pairs(people, fold, pairs, rng, own=own) for fold in members] for own in (True, False))
    fold_of = {person: number for number, fold in enumerate(members) for person in fold}
    folds_of_images = np.array([fold_of.get(person, -1) for person in people])
    results: dict[str, float | int] = {"n": folds * 2 * pairs, "verification_people": len(several)}
    for name, features, drawn in (("", avatars, own), ("other_photo_", avatars, other), ("photo_", photos, other)):
        scores = [
            centred_cosine(photos[first], features[second], *(f[folds_of_images != k].mean(0) for f in (photos, features)))
            for k, (first, second) in enumerate(drawn)
        ]
        same = np.tile(np.arange(2 * pairs) < pairs, (folds, 1))
        results[f"{name}verification_accuracy"] = round(cross_validated_accuracy(np.stack(scores), same), 4)
        results[f"{name}verification_eer"] = round(equal_error_rate(np.concatenate(scores), same.ravel()), 4)
    return results


def sample_pairs(
    people: Indices, members: Indices, pairs: int, rng: np.random.Generator, *, own: bool
) -> tuple[Indices, Indices]:
    """Image indices of the photographs and of the avatars of 2 * ``pairs`` pairs; the first half shows the same person.

    Args:
        people: The person in every image.
        members: The people to choose from, each with two images or more.
        pairs: Pairs of the same person.
        rng: Random numbers.
        own: Whether a pair of the same person is a photograph and its own avatar, or that of another photograph.
    """
    images = {person: np.flatnonzero(people == person) for person in members}
    same = [rng.choice(images[person], 2, replace=False) for person in rng.choice(members, pairs)]
    first, second = np.array(same).T
    strangers = [rng.choice(members, 2, replace=False) for _ in range(pairs)]
    one, another = np.array([(rng.choice(images[a]), rng.choice(images[b])) for a, b in strangers]).T
    return np.concatenate([first, one]), np.concatenate([first if own else second, another])


def centred_cosine(a: Numbers, b: Numbers, mean_a: Numbers, mean_b: Numbers) -> Numbers:
    """Cosine of the rows of a [N, F] and b [N, F] after their means are subtracted; 0 where a row is its mean."""
    a, b = a - mean_a, b - mean_b
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), lengths, out=np.zeros(len(a)), where=lengths > 1e-12)


def cross_validated_accuracy(scores: Numbers, same: npt.NDArray[np.bool_]) -> float:
    """Mean accuracy over folds, scores and truth [folds, N], each with the best threshold of the other folds."""
    accuracies = []
    for k in range(len(scores)):
        others = np.arange(len(scores)) != k
        threshold = best_threshold(scores[others].ravel(), same[others].ravel())
        accuracies.append(((scores[k] > threshold) == same[k]).mean())
    return float(np.mean(accuracies))


def best_threshold(scores: Numbers, same: npt.NDArray[np.bool_]) -> float:
    """The lowest threshold with the highest accuracy, halfway between two scores that differ."""
    values, inverse = np.unique(scores, return_inverse=True)
    same_at, different_at = (np.bincount(inverse, weights=truth, minlength=len(values)) for truth in (same, ~same))
    # Entry i: the accuracy, in pairs, of the threshold above the i lowest values.
    correct = np.append(0, different_at.cumsum()) + same.sum() - np.append(0, same_at.cumsum())
    bounds = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1]]])
    return float(bounds[correct.argmax()])


def equal_error_rate(scores: Numbers, same: npt.NDArray[np.bool_]) -> float:
    """The error rate at which false rejections and false acceptances are equally frequent, interpolated linearly."""
    values, inverse = np.unique(scores, return_inverse=True)
    same_at, different_at = (np.bincount(inverse, weights=truth, minlength=len(values)) for truth in (same, ~same))
    rejected = np.append(0, same_at.cumsum()) / same.sum()
    accepted = 1 - np.append(0, different_at.cumsum()) / (~same).sum()
    after = int((rejected >= accepted).argmax())  # the first threshold with as many false rejections; never entry 0
    before = accepted[after - 1] - rejected[after - 1]
    share = before / (before + rejected[after] - accepted[after])
    return float(rejected[after - 1] + share * (rejected[after] - rejected[after - 1]))
