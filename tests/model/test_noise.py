"""Noise beside f(x): its distribution, its variants, and training and transferring with it."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from domtrans import DomtransError, FeatureNoise, export, load, pack, set_variant, train, transfer, use
from tiny import registry, tiny_recipe


def build(name, *arguments, **options):
    torch.manual_seed(0)
    return registry().build("generator", use(name, **options), *arguments)


def measured(features=24, size=5):
    """Noise that has seen the distribution of its features, N(3, 4)."""
    torch.manual_seed(0)
    noise = FeatureNoise(features, size).train()
    for _ in range(400):
        noise(torch.randn(256, features) * 2 + 3)
    return noise.eval()


def test_z_in_training_is_normal_and_follows_the_global_generator():
    noise, features = FeatureNoise(4, 3).train(), torch.randn(20_000, 4)
    torch.manual_seed(5)
    first = noise(features)
    torch.manual_seed(5)
    assert torch.equal(first, noise(features)) and torch.equal(first[:, :4], features)
    assert not torch.equal(first, noise(features))
    z = first[:, 4:]
    assert z.mean(0).abs().max() < 0.03 and (z.std(0) - 1).abs().max() < 0.03


@pytest.mark.parametrize("variant", [0, 3])
def test_z_of_a_trained_generator_is_normal_over_the_images(variant):
    noise = measured()
    noise.set_variant(variant)
    z = noise(torch.randn(20_000, 24) * 2 + 3)[:, 24:]
    assert z.mean(0).abs().max() < 0.05 and (z.std(0) - 1).abs().max() < 0.05
    assert (torch.corrcoef(z.T) - torch.eye(5)).abs().max() < 0.1
    assert (z.abs() > 2).float().mean() == pytest.approx(0.0455, abs=0.01)


def test_z_of_one_image_is_normal_over_the_variants():
    noise, features, found = measured(), torch.randn(1, 24), []
    for number in range(1, 600):
        noise.set_variant(number)
        found.append(noise(features)[0, 24:])
    z = torch.stack(found)
    assert z.mean(0).abs().max() < 0.15 and (z.std(0) - 1).abs().max() < 0.15


def test_a_variant_is_repeatable_and_does_not_depend_on_the_batch():
    noise, features = measured(), torch.randn(6, 24)
    usual = noise(features)
    noise.set_variant(7)
    other = noise(features)
    assert not torch.allclose(usual, other)
    torch.testing.assert_close(noise(features[2:3]), other[2:3])
    noise.set_variant(0)
    assert torch.equal(noise(features), usual)


def test_maps_get_constant_maps():
    noise = measured()
    maps = torch.randn(2, 24, 3, 3)
    found = noise(maps)
    assert found.shape == (2, 29, 3, 3) and torch.equal(found[:, :24], maps)
    assert torch.equal(found[:, 24:], found[:, 24:, :1, :1].expand(-1, -1, 3, 3))
    torch.testing.assert_close(found[:, :, 0, 0][:, 24:], noise(maps.mean((2, 3)))[:, 24:])


def test_without_noise_nothing_is_added():
    noise, features = FeatureNoise(4, 0), torch.randn(2, 4)
    assert noise(features) is features and not noise.state_dict()
    with pytest.raises(DomtransError, match=r"generator\.noise=8"):
        set_variant(build("digit-generator", 8, 1, 32), 1)


@pytest.mark.parametrize(
    ("name", "features"), [("digit-generator", 8), ("image-generator", 8), ("face-generator", 8), ("map-generator", (8, 8, 8))]
)
def test_generators_draw_another_image_for_another_z(name, features):
    g = build(name, features, 3, 32, width=4, noise=3)
    shape = (4, *features) if isinstance(features, tuple) else (4, features)
    inputs = torch.randn(shape)
    assert not torch.equal(g.train()(inputs), g(inputs))
    g.eval()
    usual = g(inputs)
    assert torch.equal(usual, g(inputs))
    set_variant(g, 1)
    assert not torch.allclose(usual, g(inputs), atol=1e-4)
    bottleneck = {"bottleneck": 2} if name == "map-generator" else {}
    assert build(name, features, 3, 32, width=4, noise=3, **bottleneck).eval()(inputs).shape == (4, 3, 32, 32)


def noisy(folder, **changes):
    return tiny_recipe(folder, generator__noise=4, metrics={}, **changes)


def test_a_resumed_run_draws_the_same_noise(tmp_path):
    """Training draws z from the generator that every step seeds."""
    whole = train(noisy(tmp_path), tmp_path / "whole", device="cpu")
    train(noisy(tmp_path, train__steps=2), tmp_path / "part", device="cpu")
    parts = train(
        noisy(tmp_path), tmp_path / "part", device="cpu", resume=True, allow_changes={"train.steps": 4}, registry=registry()
    )
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, parts.model.state_dict()[name]), name


def test_a_run_has_variants_and_keeps_its_own_transfer(tmp_path):
    run = train(noisy(tmp_path), tmp_path / "run", device="cpu")
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    usual, other = run.transfer(images), run.variant(2)
    assert not torch.equal(other.transfer(images), usual)
    assert torch.equal(run.transfer(images), usual) and torch.equal(other.variant(0).transfer(images), usual)
    assert torch.equal(load(tmp_path / "run", device="cpu").variant(2).transfer(images), other.transfer(images))
    assert torch.equal(pickle.loads(pickle.dumps(other)).transfer(images), other.transfer(images))
    with pytest.raises(DomtransError, match=r"this is variant 2 of a run.*pack run\.variant\(0\)"):
        pack(other, tmp_path / "packed")

    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "x.png")
    transfer(tmp_path / "run", tmp_path / "x.png", tmp_path / "y.png", variant=2, device="cpu")
    with Image.open(tmp_path / "y.png") as written:
        np.testing.assert_array_equal(np.asarray(written), other.transfer(images[:1])[0, 0].numpy())

    exported = export(other, tmp_path / "g.pt2", progress=False)
    assert exported.most <= 1


def test_a_run_without_noise_refuses_a_variant(tmp_path):
    run = train(tiny_recipe(tmp_path, metrics={}, train__steps=1), tmp_path / "run", device="cpu")
    with pytest.raises(DomtransError, match="reads no noise"):
        run.variant(1)


@pytest.mark.parametrize("number", [-1, 0.5, "1"])
def test_a_variant_is_a_whole_number(number):
    with pytest.raises(DomtransError, match="a variant is a whole number, 0 or larger"):
        set_variant(build("digit-generator", 8, 1, 32, noise=2), number)
