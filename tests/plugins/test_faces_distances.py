"""Distances of faces: ``attributes`` and ``perceptual``."""

import pytest
import torch

from domtrans import DomtransError, use
from domtrans_faces.vocabulary import VOCABULARY
from small_faces import SIZES, K
from tiny import registry


def attributes(**options):
    return registry().build("distance", use("attributes", **options))


def test_attributes_is_the_weighted_kl_over_heads():
    """Sum of w KL(softmax(s z_x) || softmax(z_G)), in explicit form."""
    a, b = torch.randn(2, 6, K, generator=torch.Generator().manual_seed(0))
    found = attributes(sharpen=2.0, weights={"skin": 3.0, "brows": 0.0})(a, b, lambda features: features)
    by_hand = torch.zeros(())
    for name, z, y in zip(VOCABULARY, a.split(SIZES, 1), b.split(SIZES, 1), strict=True):
        p, q = (2 * z).softmax(1), y.softmax(1)
        by_hand += {"skin": 3.0, "brows": 0.0}.get(name, 1.0) * (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(found, by_hand, atol=1e-5)


def test_attributes_refuses_other_inputs():
    a = torch.randn(2, 7)
    for classify in (None, lambda features: features):
        with pytest.raises(DomtransError, match="use the encoder 'attributes'"):
            attributes()(a, a, classify)
    with pytest.raises(DomtransError, match="unknown attribute 'nose'"):
        attributes(weights={"nose": 1.0})


def test_perceptual_uses_its_own_network():
    kept = use("perceptual", encoder={"name": "attributes", "width": 4, "features": 8}, distance="cosine")
    one, other = (registry().build("distance", kept) for _ in range(2))
    a, b = torch.rand(2, 4, 1, 32, 32) * 2 - 1
    b.requires_grad_(True)
    value = one(a, b)
    torch.manual_seed(7)
    assert torch.equal(value, other(a, b)), "always the same random layers"
    (gradient,) = torch.autograd.grad(value, b)
    assert gradient.abs().sum() > 0 and one(a, a) < 1e-6 < value
    with pytest.raises(DomtransError, match="compares images"):
        one(torch.zeros(2, 8), torch.zeros(2, 8))
