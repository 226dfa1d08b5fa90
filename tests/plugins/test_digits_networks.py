"""digit-resnet as f, and G without f."""

import pytest
import torch

import domtrans
from domtrans import DomtransError, ImageSet, Session, use
from domtrans.testing import check_discriminator
from domtrans_digits.networks.dtn import DigitEvaluator, MinibatchDeviation
from tiny import bars, registry, tiny_recipe, tiny_trainer
from tiny_runs import go


def resnet(classes=4, **options):
    torch.manual_seed(0)
    return registry().build("encoder", use("digit-resnet", **options), 32, classes)


def test_wrn_16_4_has_the_size_of_its_paper():
    """2.75 million weights (Zagoruyko and Komodakis 2016, table 5: 2.7 M)."""
    assert sum(weight.numel() for weight in resnet(10).parameters()) == pytest.approx(2.75e6, rel=0.01)


@pytest.mark.parametrize(("width", "depth", "stride"), [(1, 1, 1), (2, 3, 1), (2, 1, 2)])
def test_features_are_those_of_the_last_stage(width, depth, stride):
    f = resnet(width=width, depth=depth, stride=stride)
    features = f(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, f.feature_size) == (2, 64 * width) and features.min() >= 0


@pytest.mark.parametrize(("stride", "sides"), [(1, (32, 16, 8)), (2, (16, 8, 4))])
def test_stride_sets_the_sides_of_the_stages(stride, sides):
    x, seen = torch.zeros(1, 3, 32, 32), []
    for layer in resnet(width=1, depth=1, stride=stride).layers[:4]:
        x = layer(x)
        seen.append(x.shape[-1])
    assert tuple(seen) == (sides[0], *sides)


def test_cells_keep_the_predictions():
    whole, parts = (resnet(width=1, depth=1, cells=cells).eval() for cells in (1, 2))
    images = torch.rand(2, 3, 32, 32)
    features = parts(images)
    assert features.shape == (2, parts.feature_size) == (2, 256)
    assert torch.allclose(features.view(2, 64, 4).mean(2), whole(images), atol=1e-5)
    assert torch.allclose(parts.logits(features), whole.logits(whole(images)), atol=1e-5)


def test_digit_resnet_learns_to_classify_bars():
    f = resnet(width=1, depth=1)
    source = ImageSet.from_arrays(*bars(48), size=32)
    registry().build("fit", use("classifier", steps=40, batch_size=16))(f, source, Session.start("cpu", precision="float32"))
    read = f.eval().logits(f(domtrans.to_float(ImageSet.from_arrays(*bars(24, seed=1), size=32).images))).argmax(1)
    assert (read == torch.arange(24) % 4).float().mean() > 0.9


def test_without_labels_there_is_no_head():
    with pytest.raises(DomtransError, match="no classification head"):
        resnet(0, width=1, depth=1).logits(torch.zeros(1, 64))


def test_a_recipe_trains_with_it(tmp_path):
    recipe = tiny_recipe(tmp_path, "digits-dtn", encoder={"name": "digit-resnet", "width": 1, "depth": 1})
    assert "accuracy" in go(recipe, tmp_path / "run").results


# D with the standard deviation of a batch

COMPARING = {"discriminator__norm": "spectral", "discriminator__minibatch_deviation": True}


def test_the_deviation_of_a_batch_is_averaged_over_channels_and_pixels():
    maps = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    found = MinibatchDeviation()(maps)
    assert torch.equal(found[:, :4], maps)
    wanted = ((maps - maps.mean(0)) ** 2).mean(0).sqrt().mean().item()
    assert found[:, 4].flatten().tolist() == pytest.approx([wanted] * 45, rel=1e-5)
    MinibatchDeviation()(torch.zeros(2, 1, 2, 2, requires_grad=True)).sum().backward()  # no division by zero


def test_a_d_that_compares_images_keeps_its_contracts():
    check_discriminator(registry(), "digit-discriminator", minibatch_deviation=True, width=4)


def test_a_d_that_compares_images_judges_each_kind_in_a_batch_of_its_own(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, **COMPARING))
    images = torch.rand(2, 4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    trainer.D.eval()
    outputs = trainer.judge(domtrans.Outputs(target=images[0], target_fake=images[1]), "target", "target_fake")
    assert torch.allclose(outputs.target_logits, trainer.D(images[0]), atol=1e-6)
    assert torch.allclose(outputs.target_fake_logits, trainer.D(images[1]), atol=1e-6)
    trainer.step()
    assert not trainer.D.training  # spectral norm has no power iteration in the update of g


# G without f

WITHOUT_F = {"generator": {"name": "digit-image-generator", "width": 4}}


def test_g_without_f_gets_the_image(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, **WITHOUT_F))
    outputs = trainer.load_micro_batch(("source", "target"), 0)
    g = trainer.g.eval()
    trainer.g.train = lambda mode=True: g  # both passes below must be the same function
    generated = trainer.generate(outputs, with_graph=False)
    for domain in ("source", "target"):
        rgb = getattr(outputs, domain).expand(-1, 3, -1, -1)
        assert torch.allclose(getattr(generated, f"{domain}_fake"), g(rgb), atol=1e-5)
    source_only = trainer.generate(domtrans.Outputs(source=outputs.source, source_features=None), with_graph=False)
    assert source_only.target_fake is None and torch.allclose(source_only.source_fake, generated.source_fake, atol=1e-5)


def test_g_without_f_does_not_depend_on_f(tmp_path):
    run = go(tiny_recipe(tmp_path, **WITHOUT_F), tmp_path / "run")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    before = run.transfer(images)
    with torch.no_grad():
        for weight in run.model.encoder.parameters():
            weight.zero_()
    assert torch.equal(run.transfer(images), before)
    again = domtrans.load(run.path, device="cpu", registry=registry())
    assert torch.equal(again.transfer(images), before) and torch.equal(
        again.transfer(images[:, :1]), run.transfer(images[:, :1])
    )


def test_g_without_f_resumes_exactly(tmp_path):
    whole = go(tiny_recipe(tmp_path, **WITHOUT_F), tmp_path / "whole")
    go(tiny_recipe(tmp_path, **WITHOUT_F, train__steps=2, train__save_every=1), tmp_path / "parts")
    parts = go(tiny_recipe(tmp_path, **WITHOUT_F, train__save_every=1), tmp_path / "parts", resume=True)
    a, b = (run.model.state_dict() for run in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)


# All networks of digits


@pytest.mark.parametrize("name", sorted({*registry().names("generator")} - {"parameters", "map-generator"}))
def test_a_gradient_reaches_every_weight_of_a_generator(name):
    torch.manual_seed(0)
    g = registry().build("generator", use(name), 24, 1, 32)
    g(torch.randn(3, 3, 32, 32) if g.reads_images else torch.randn(3, 24)).square().sum().backward()
    assert all(weight.grad is not None for weight in g.parameters())


def test_even_contrast_normalises_each_image():
    plain, even = (registry().build("encoder", use("digit-encoder", even_contrast=even), 32, 4) for even in (False, True))
    even.load_state_dict(plain.state_dict())
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    deviation, mean = torch.std_mean(images, (1, 2, 3), keepdim=True)
    torch.testing.assert_close(even(images), plain((images - mean) / (deviation + 0.02)))
    flat = torch.full((2, 3, 32, 32), 0.5, requires_grad=True)
    even(flat).sum().backward()
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("kind", ["encoder", "generator", "discriminator"])
def test_networks_of_one_size_refuse_another(kind):
    arguments = {"encoder": (48, 10), "generator": (24, 1, 48), "discriminator": (1, 48)}[kind]
    for name in (name for name in registry().names(kind) if name.startswith("digit-")):
        with pytest.raises(DomtransError, match="supports 32 pixels, not 48"):
            registry().build(kind, use(name), *arguments)


@pytest.mark.parametrize("size", [8, 16, 24, 28, 48])
def test_the_evaluator_reads_images_of_other_sizes(size):
    assert DigitEvaluator(1, 10).eval()(torch.zeros(2, 1, size, size)).shape == (2, 10)
