"""The encoder ``predictions``: the predictions of another f as features."""

import pytest
import torch

from domtrans import DomtransError, FrozenEncoder, head_sizes, testing, use
from tiny import registry

OF = {"name": "attributes", "width": 4, "features": 8}


def predictions(hidden=(), sharpen=1):
    torch.manual_seed(0)
    return registry().build("encoder", use("predictions", of=OF, hidden=list(hidden), sharpen=sharpen), 32, 0)


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


def test_a_hidden_head_predicts_nothing_and_the_others_what_they_did():
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    plain, hiding = predictions().eval(), predictions(hidden=["hair_style", "brows"]).eval()
    sizes, names = head_sizes(plain.heads), list(plain.heads)
    both = zip(names, plain(images).split(sizes, 1), hiding(images).split(sizes, 1), strict=True)
    for name, shown, seen in both:
        wanted = torch.full_like(shown, 1 / shown.shape[1]) if name in ("hair_style", "brows") else shown
        assert torch.equal(seen, wanted)


def test_sharpening_changes_what_g_sees_and_not_what_f_predicts():
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    plain, sharp = predictions().eval(), predictions(sharpen=4).eval()
    sizes = head_sizes(plain.heads)
    wanted = torch.cat([(4 * head).softmax(1) for head in plain.of.logits(plain.of(images)).split(sizes, 1)], 1)
    torch.testing.assert_close(sharp(images), wanted)
    for before, after in zip(*(f.logits(f(images)).split(sizes, 1) for f in (plain, sharp)), strict=True):
        torch.testing.assert_close(after.softmax(1), before.softmax(1))


@pytest.mark.parametrize(("hidden", "message"), [(["hat"], "cannot hide 'hat'"), (None, "needs a head that is not hidden")])
def test_a_head_that_cannot_be_hidden_is_refused(hidden, message):
    with pytest.raises(DomtransError, match=message):
        predictions(hidden=predictions().heads if hidden is None else hidden)
