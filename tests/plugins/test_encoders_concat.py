"""The encoder concat: features of several encoders, each with its own options and weights."""

import pytest
import torch

from domtrans import DomtransError, FrozenEncoder, load, train, use
from published_weights import published
from tiny import registry, tiny_recipe

SMALL = {"name": "timm", "model": "resnet10t"}
DIGITS = {"name": "digit-encoder"}


def build(*encoders, classes=4):
    return registry().build("encoder", use("concat", encoders=list(encoders)), 32, classes).eval()


def test_features_are_concatenated_and_the_gradient_passes_each_encoder():
    f = build(SMALL, DIGITS)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    one, other = f.encoders
    torch.testing.assert_close(f(images), torch.cat([one(images), other(images)], 1))
    assert f.feature_size == one.feature_size + other.feature_size and f.channels == 3
    for part in f(images.requires_grad_()).split([one.feature_size, other.feature_size], 1):
        (grad,) = torch.autograd.grad(part.square().sum(), images, retain_graph=True)
        assert (grad.abs().sum((1, 2, 3)) > 0).all()


def test_logits_are_the_mean_over_the_encoders_with_a_head():
    f = build(SMALL, {"name": "dlib-resnet"}, DIGITS)
    one, _, other = f.encoders
    features = torch.randn(3, f.feature_size)
    wanted = (one.logits(features[:, :512]) + other.logits(features[:, -other.feature_size :])) / 2
    torch.testing.assert_close(f.logits(features), wanted)
    assert not FrozenEncoder(build({"name": "dlib-resnet"})).has_head()


def test_heads_are_those_of_the_encoder_with_attributes():
    f = build(DIGITS, {"name": "attributes", "width": 8})
    attributes = f.encoders[1]
    assert f.heads == attributes.heads and build(DIGITS).heads == {"class": 4} and not build({"name": "dlib-resnet"}).heads
    features = torch.randn(3, f.feature_size)
    torch.testing.assert_close(f.logits(features), attributes.logits(features[:, -attributes.feature_size :]))


def test_each_encoder_loads_its_own_published_weights():
    f = build({"name": "mobilefacenet", "path": published("mobilefacenet")}, DIGITS)
    before = f.encoders[0].body[0].conv.weight.clone()
    f.load_pretrained()
    assert not torch.equal(f.encoders[0].body[0].conv.weight, before)
    with pytest.raises(DomtransError, match="'openface' needs its published weights"):
        build({"name": "openface"}).load_pretrained()


def test_a_resolved_recipe_has_every_nested_option_and_its_run_loads(tmp_path):
    recipe = tiny_recipe(tmp_path, encoder={"name": "concat", "encoders": [SMALL, "digit-encoder"]}, train__steps=2)
    assert [one["name"] for one in recipe.encoder.options["encoders"]] == ["timm", "digit-encoder"]
    assert recipe.encoder.options["encoders"][0]["pretrained"] is False
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(run.path, device="cpu", registry=registry()).transfer(image), run.transfer(image))


@pytest.mark.parametrize(
    ("encoders", "problem"),
    [
        ([], "option 'encoders'.*at least 1"),
        (["no-such"], "there is no encoder 'no-such'"),
        ([{"name": "timm", "stag": 1}], r"encoder 'timm': there is no option 'stag' \(did you mean 'stage'\?\)"),
    ],
)
def test_errors_in_nested_encoders_are_reported(encoders, problem):
    with pytest.raises(DomtransError, match=problem):
        build(*encoders)
