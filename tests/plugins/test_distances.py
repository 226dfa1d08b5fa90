"""Every distance against its formula in NumPy, in float64."""

import numpy as np
import pytest
import torch

from domtrans import Classifier, DomtransError, use
from loss_formulas import by_hand_cosine
from tiny import registry

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(5, 6)), RNG.normal(size=(5, 6))
HEAD = RNG.normal(size=(6, 3))


def classify(features):
    return features @ torch.tensor(HEAD)


def distance(name, a=A, b=B, head=classify, **options):
    return registry().build("distance", use(name, **options))(torch.tensor(a), torch.tensor(b), head)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def by_hand_kl(a, b, temperature):
    p, q = softmax(a @ HEAD / temperature), softmax(b @ HEAD / temperature)
    return (p * (np.log(p) - np.log(q))).sum(1).mean()


def test_mse():
    assert distance("mse").item() == pytest.approx(((A - B) ** 2).mean(), rel=1e-12)


def test_l1():
    assert distance("l1").item() == pytest.approx(np.abs(A - B).mean(), rel=1e-12)


@pytest.mark.parametrize("shape", [(5, 6), (5, 1, 2, 3)])
def test_cosine_is_the_mean_over_pairs_of_flattened_vectors(shape):
    found = distance("cosine", A.reshape(shape), B.reshape(shape))
    assert found.item() == pytest.approx(by_hand_cosine(A, B), rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
def test_cross_entropy_is_kl_between_the_heads_predictions(temperature):
    found = distance("cross-entropy", temperature=temperature)
    assert found.item() == pytest.approx(by_hand_kl(A, B, temperature), rel=1e-10)


def test_cross_entropy_is_the_sum_over_heads():
    heads = Classifier(lambda features: torch.cat([classify(features), 5 * classify(features)[:, :2]], 1), (3, 2))
    p, q = ([softmax(x @ HEAD), softmax(5 * x @ HEAD[:, :2])] for x in (A, B))
    expected = sum((one * (np.log(one) - np.log(other))).sum(1).mean() for one, other in zip(p, q, strict=True))
    assert distance("cross-entropy", head=heads).item() == pytest.approx(expected, rel=1e-10)


def test_cross_entropy_has_the_gradient_of_plain_cross_entropy():
    b = torch.tensor(B, requires_grad=True)
    registry().build("distance", use("cross-entropy"))(torch.tensor(A), b, classify).backward()
    mine, b.grad = b.grad, None
    p = torch.tensor(softmax(A @ HEAD))
    torch.nn.functional.cross_entropy(classify(b), p).backward()
    torch.testing.assert_close(mine, b.grad)


def cosines(a, b):
    return a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("shape", [(5, 6), (5, 1, 2, 3)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_contrastive_is_kl_between_similarity_distributions(shape, temperature):
    p, q = softmax(cosines(A, A) / temperature), softmax(cosines(B, A) / temperature)
    found = distance("contrastive", A.reshape(shape), B.reshape(shape), temperature=temperature)
    assert found.item() == pytest.approx((p * (np.log(p) - np.log(q))).sum(1).mean(), rel=1e-9)


def test_contrastive_with_a_small_temperature_is_infonce():
    info_nce = -np.log(np.diag(softmax(cosines(B, A) / 0.003))).mean()
    assert distance("contrastive", temperature=0.003).item() == pytest.approx(info_nce, rel=1e-6)


def test_contrastive_ignores_a_common_offset_of_the_second_batch():
    a = np.eye(4, 5)
    moved = a + np.eye(5)[4]  # all moved in one new direction
    assert distance("cosine", a, moved).item() > 0.29
    assert distance("contrastive", a, moved).item() < 0.01
    assert distance("contrastive", a, np.roll(a, 1, axis=0)).item() > 9


def test_contrastive_does_not_repel_images_with_equal_features():
    twins = A[[0, 0, 1]]
    b = torch.tensor(twins, requires_grad=True)
    registry().build("distance", use("contrastive"))(torch.tensor(twins), b).backward()
    assert b.grad.abs().max() < 1e-6


def test_weighted_is_the_weighted_sum():
    terms = ["mse", {"name": "cross-entropy", "temperature": 2.0}, "cosine"]
    found = distance("weighted", terms=terms, weights=[0.5, 3, 0])
    assert found.item() == pytest.approx(0.5 * ((A - B) ** 2).mean() + 3 * by_hand_kl(A, B, 2.0), rel=1e-10)


def test_weighted_nests():
    inner = {"name": "weighted", "terms": ["mse"], "weights": [2]}
    assert distance("weighted", terms=[inner], weights=[3]).item() == pytest.approx(6 * ((A - B) ** 2).mean())


def test_weighted_needs_one_weight_per_term():
    with pytest.raises(DomtransError, match="2 terms but 1 weights"):
        distance("weighted", terms=["mse", "cosine"], weights=[1])


OF_ANY_FEATURES = sorted(set(registry().names("distance")) - {"attributes", "perceptual"})  # those: test_faces_distances.py


@pytest.mark.parametrize("name", OF_ANY_FEATURES)
def test_equal_batches_have_distance_0_and_a_finite_gradient(name):
    for value in (A, np.zeros_like(A)):
        b = torch.tensor(value, requires_grad=True)
        found = registry().build("distance", use(name))(torch.tensor(value), b, classify)
        found.backward()
        assert torch.isfinite(b.grad).all()
        if value is A:
            assert found.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "options", [{"name": "cross-entropy"}, {"name": "weighted", "terms": ["cross-entropy"], "weights": [1]}]
)
@pytest.mark.parametrize("call", [lambda d, a, b: d(a, b), lambda d, a, b: d(a, b, None)])
def test_cross_entropy_refuses_images(options, call):
    built = registry().build("distance", use(**options))
    with pytest.raises(DomtransError, match="cannot compare images"):
        call(built, torch.tensor(A), torch.tensor(B))
