"""The encoder ``predictions``: the predictions of another f as features."""

import pytest
import torch

from domtrans import DomtransError, FrozenEncoder, head_sizes, testing, use
from tiny import registry

OF = {"name": "attributes", "width": 4, "features": 8}


def predictions(**options):
    torch.manual_seed(0)
    return registry().build("encoder", use("predictions", of=OF | options), 32, 0)


def test_it_keeps_the_contracts_of_encoders():
    testing.check_encoder(registry(), "predictions", of=OF)


def test_features_are_the_probabilities_of_every_head():
    f = predictions().eval()
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    sizes = head_sizes(f.heads)
    wanted = torch.cat([head.softmax(1) for head in f.of.logits(f.of(images)).split(sizes, 1)], 1)
    features = f(images)
    assert torch.equal(features, wanted) and f.feature_size == sum(sizes) and f.heads == f.of.heads
    assert torch.allclose(f.read(f.fixed(images)), features)
    frozen = FrozenEncoder(f)
    predicted = torch.cat([head.softmax(1) for head in frozen.classify(frozen(images)).split(sizes, 1)], 1)
    assert torch.allclose(predicted, wanted, atol=1e-5)


def test_an_encoder_without_heads_is_refused():
    with pytest.raises(DomtransError, match="'predictions' needs an encoder with heads, such as 'attributes'"):
        registry().build("encoder", use("predictions", of={"name": "colour-grid"}), 32, 0)
