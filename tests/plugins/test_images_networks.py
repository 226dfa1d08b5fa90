"""Networks of maps and patches: what they promise about layout, and training, saving, export and measuring with them."""

import pytest
import torch
import torch.nn.functional as F

import domtrans
from domtrans import Outputs, override, train, use
from domtrans.runs.examples import make_examples
from tiny import registry, tiny_recipe, tiny_trainer

MAPS = {
    "encoder": {"name": "map-encoder", "width": 4, "features": 4},
    "generator": {"name": "map-generator", "width": 4, "depth": 1},
    "discriminator": {"name": "patch-discriminator", "width": 4, "layers": 1},
}


def build(kind, name, *arguments, **options):
    torch.manual_seed(0)
    return registry().build(kind, use(name, **options), *arguments)


def map_recipe(folder, **changes):
    of_maps = override(tiny_recipe(folder), MAPS, registry())
    return override(of_maps, {path.replace("__", "."): value for path, value in changes.items()}, registry())


@pytest.mark.parametrize("size", [32, 48, 112, 240, 256])
def test_the_networks_take_multiples_of_16(size):
    images = torch.zeros(1, 3, size, size)
    for stride in (4, 16):
        f = build("encoder", "map-encoder", size, 3, width=4, features=4, stride=stride).eval()
        assert f(images).shape == (1, *f.feature_shape) == (1, 4, size // stride, size // stride)
        assert f.logits(f(images)).shape == (1, 3)
        g = build("generator", "map-generator", f.feature_shape, 1, size, width=4, bottleneck=2).eval()
        assert g(f(images)).shape == (1, 1, size, size)
    vector = build("generator", "image-generator", 5, 3, size, width=4, depth=1).eval()
    assert vector(torch.zeros(1, 5)).shape == images.shape
    assert build("discriminator", "image-discriminator", 3, size, width=4)(images).shape == (1, 3)
    assert build("discriminator", "patch-discriminator", 3, size, width=4, layers=3)(images).shape[:2] == (1, 3)


def test_maps_of_any_stride_are_drawn():
    """Those of a ResNet for faces have 17 positions a side, of an image of 64 pixels."""
    g = build("generator", "map-generator", (4, 17, 17), 3, 64, width=4)
    assert g(torch.randn(2, 4, 17, 17)).shape == (2, 3, 64, 64)


def test_the_layout_of_x_reaches_g_of_x():
    """A change in one corner of x changes that corner of G(x) only."""
    f = build("encoder", "map-encoder", 128, 0, width=4, features=4).eval()
    g = build("generator", "map-generator", f.feature_shape, 3, 128, width=4, depth=0).eval()
    x = torch.rand(1, 3, 128, 128)
    other = x.clone()
    other[..., :8, :8] = 1
    changed = (g(f(x)) - g(f(other))).abs().amax(1)[0]
    assert changed[:32, :32].max() > 0 and changed[64:].max() == 0 and changed[:, 64:].max() == 0


@pytest.mark.parametrize(("layers", "reach"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_has_as_many_pixels_as_documented(layers, reach):
    judge = build("discriminator", "patch-discriminator", 1, 144, width=4, layers=layers, norm="none")
    images = torch.rand(1, 1, 144, 144, requires_grad=True)
    logits = judge(images)
    middle = logits.shape[-1] // 2
    logits[0, :, middle, middle].sum().backward()
    rows = images.grad[0, 0].abs().sum(1).nonzero()[:, 0]
    assert int(rows[-1] - rows[0]) + 1 == reach


def test_losses_get_a_row_of_logits_for_every_patch(tmp_path):
    trainer = tiny_trainer(map_recipe(tmp_path, discriminator__classes=0))
    images = torch.rand(2, 1, 32, 32)
    trainer.D.eval()
    outputs = trainer.judge(Outputs(source_fake=images, target=images), "source_fake", "target")
    patches = trainer.D(images)
    rows = torch.stack([patches[k, :, i, j] for k in range(2) for i in range(14) for j in range(14)])
    assert torch.allclose(outputs.source_fake_logits, rows, atol=1e-6) and torch.equal(
        outputs.target_logits, outputs.source_fake_logits
    )
    loss = registry().build("loss", use("ternary-discriminator"))
    by_hand = sum(F.cross_entropy(patches, torch.full((2, 14, 14), kind)) for kind in (domtrans.Discriminator.FAKE_SOURCE, 2))
    torch.testing.assert_close(loss(outputs), by_hand)


def test_the_gradient_penalty_is_that_of_the_mean_over_patches(tmp_path):
    trainer = tiny_trainer(map_recipe(tmp_path, discriminator__norm="none"))
    images = torch.rand(2, 1, 32, 32)
    found = registry().build("loss", use("gradient-penalty"))(
        Outputs(target=images, discriminate=trainer.discriminator_of(Outputs()))
    )
    leaf = images.clone().requires_grad_()
    logits = trainer.D(leaf)
    odds = (logits[:, 2] - logits[:, :2].logsumexp(1)).mean((1, 2))
    (gradient,) = torch.autograd.grad(odds.sum(), leaf)
    torch.testing.assert_close(found, gradient.square().sum((1, 2, 3)).mean() / 2)


def test_a_class_conditional_d_judges_patches_by_class():
    judge = build("discriminator", "patch-discriminator", 1, 32, width=4, layers=1, classes=3).eval()
    images = torch.rand(2, 1, 32, 32)
    logits = judge.layers(images)
    found = judge(images, torch.eye(3)[[2, 0]])
    assert torch.allclose(found, logits[:, 0] + torch.stack([logits[0, 3], logits[1, 1]]), atol=1e-6)
    assert torch.equal(judge(images), judge(images, torch.zeros(2, 3)))


def test_a_run_of_maps_trains_loads_measures_and_exports(tmp_path):
    recipe = map_recipe(
        tmp_path, align_features=True, discriminator__classes=4, train__steps=2, generator_losses__const__distance="mse"
    )
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    again = domtrans.load(run.path, device="cpu", registry=registry())
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert again.encode(images).shape == (2, 4, 4, 4) and again.encoder.mean.shape == (4, 1, 1)
    assert torch.equal(again.transfer(images), run.transfer(images))
    source = domtrans.load_domain(registry(), recipe.source, "test", 32)
    examples = make_examples(again.model, source, domtrans.load_domain(registry(), recipe.target, "train", 32))
    assert examples.distance.ndim == 1 and (examples.distance >= -1e-6).all()
    exported = domtrans.export(again, tmp_path / "g.pt2")
    assert exported.most <= 1


def test_features_of_maps_are_standardised_by_channel(tmp_path):
    trainer = tiny_trainer(map_recipe(tmp_path))
    features = trainer.f.encode(trainer.source)
    kept = trainer.f.std.flatten() > 0.02 * trainer.f.std.mean()  # not those at the floor, which hardly vary
    assert kept.any() and features.mean((0, 2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(features.std((0, 2, 3))[kept], torch.ones(int(kept.sum())), rtol=1e-2, atol=0)
