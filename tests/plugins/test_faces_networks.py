"""The networks of faces: f, f on a frozen recogniser, the colours beside it, g and D."""

import pytest
import torch
from safetensors.torch import load_file

from domtrans import DomtransError, Session, to_float, use
from domtrans_faces.networks.dtn import Palette
from published_weights import published
from small_faces import K, encoder, faces, probe
from tiny import registry


def test_a_deep_f_has_more_convolutions_and_the_same_features():
    plain, deep = encoder(), encoder(depth=2)
    assert [sum(isinstance(layer, torch.nn.Conv2d) for layer in f.layers) for f in (plain, deep)] == [4, 7]
    assert deep(torch.zeros(2, 3, 32, 32)).shape == (2, 8)


# f on a frozen recogniser


def test_the_backbone_is_loaded_and_frozen():
    f = probe()
    f.load_pretrained()
    weight = f.kept[0].body[0].conv.weight
    assert (
        torch.equal(weight, load_file(published("mobilefacenet"))["0.weight"]) and "kept.0.body.0.conv.weight" in f.state_dict()
    )
    assert not any("kept" in name for name, _ in f.named_parameters())
    before, head = weight.clone(), f.head.weight.detach().clone()
    registry().build("fit", use("probe", steps=2, batch_size=4))(f.train(), faces(8), Session.start("cpu", precision="float32"))
    assert torch.equal(f.kept[0].body[0].conv.weight, before) and not torch.equal(f.head.weight, head)
    images = to_float(faces(2).images).requires_grad_()
    torch.testing.assert_close(f.eval()(images), f.read(f.kept[0](images)))
    (through,) = torch.autograd.grad(f.kept[0](images).square().sum(), images)
    assert (through.abs().sum((1, 2, 3)) > 0).all()


def test_without_a_dense_layer_the_heads_are_linear_in_the_standardised_features_of_the_backbone():
    f, images = probe(backbone="colour-grid", features=0), to_float(faces(8).images)
    f.train()(images)
    found, statistics = f.fixed(images), f.layers[0]
    standardised = (found - statistics.running_mean) / (statistics.running_var + statistics.eps).sqrt()
    f.eval()
    assert f.feature_size == found.shape[1]
    torch.testing.assert_close(f.logits(f(images)), standardised @ f.head.weight.T + f.head.bias)


def test_the_background_is_blurred_and_the_face_is_not():
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    kept, blurred = (
        probe(backbone={"name": "colour-grid", "fields": 16, "crop": 1.0}),
        probe(backbone={"name": "colour-grid", "fields": 16, "crop": 1.0}, background="blur"),
    )
    before, after = (f.fixed(images).view(2, 3, 16, 16) for f in (kept, blurred))
    assert torch.equal(before[..., 5:9, 6:10], after[..., 5:9, 6:10]), "the middle of the face"
    corner = (slice(None), slice(None), slice(0, 3), slice(0, 3))
    assert after[corner].std() < 0.3 * before[corner].std()
    seen = images.requires_grad_()
    (gradient,) = torch.autograd.grad(blurred.fixed(seen).square().sum(), seen)
    assert (gradient.abs().sum((0, 1)) > 0).all(), "g learns about the background, too"


def test_the_features_beside_are_appended_and_not_used_by_the_heads():
    alone, f = probe(), probe(beside={"name": "colour-grid", "fields": 2})
    f.load_state_dict(alone.state_dict())
    images = to_float(faces(2).images)
    wanted = torch.cat([alone.eval()(images), f.kept[1](images)], 1)
    torch.testing.assert_close(f.eval()(images), wanted)
    assert f.feature_size == 8 + 12 and torch.equal(f.logits(wanted), alone.logits(wanted[:, :8]))


# Colours beside a recogniser


def test_the_colour_grid_averages_the_centre_only():
    grid = registry().build("encoder", use("colour-grid", fields=2, crop=0.5), 32, 0)
    image = torch.ones(1, 3, 32, 32)
    image[:, :, 8:24, 8:24] = 0.0
    image[:, 0, 8:16, 16:24] = -0.5
    assert grid.feature_size == 12
    assert torch.allclose(grid(image).view(3, 2, 2)[0], torch.tensor([[0.0, -0.5], [0.0, 0.0]]))
    assert not grid(image).view(3, 4)[1:].any()


def test_a_histogram_gives_the_share_of_every_colour_and_passes_the_gradient():
    grid = registry().build("encoder", use("colour-grid", fields=1, crop=1.0, levels=3), 8, 0)
    image = torch.full((1, 3, 8, 8), -1.0)
    image[:, :, :2] = 1.0  # a quarter is white
    image[:, 0, 2:4] = 0.5  # a quarter is red, halfway between the second and the third level
    shares = torch.zeros(3, 3, 3)
    shares[2, 2, 2], shares[0, 0, 0], shares[1, 0, 0], shares[2, 0, 0] = 0.25, 0.5, 0.125, 0.125
    assert grid.feature_size == 27
    torch.testing.assert_close(grid(image).view(3, 3, 3), shares)
    seen = (torch.rand(2, 3, 8, 8) - 0.5).requires_grad_()
    weights = torch.randn(27)
    (gradient,) = torch.autograd.grad((grid(seen) @ weights).sum(), seen)
    assert torch.isfinite(gradient).all() and gradient.any()


# g and D


@pytest.mark.parametrize(("size", "mixing"), [(64, False), (96, True)])
def test_g_generates_64_pixels_and_resizes_them(size, mixing):
    g = registry().build("generator", use("face-generator", width=4, mixing=mixing), 8, 3, size).train()
    images = g(torch.randn(3, 8))
    assert images.shape == (3, 3, size, size) and images.abs().max() <= 1
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in g.layers) == (6 if mixing else 1)
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in g.layers) == 5


def test_g_draws_with_flat_colours_that_depend_on_the_features():
    g = registry().build("generator", use("face-generator", width=4, colours=5), 8, 3, 64).train()
    features = torch.randn(3, 8)
    colours = torch.tanh(g.palette.colours(features)).view(3, 5, 3)
    assert torch.equal(colours[0], colours[1]) and colours[0, 0].min() > 0.9 > -0.9 > colours[0, 1].max(), "at first"
    torch.nn.init.normal_(g.palette.colours.weight)
    colours = torch.tanh(g.palette.colours(features)).view(3, 5, 3)
    shares = (8 * g.layers(features)).exp()
    mixed = (shares[:, :, None] * colours[:, :, :, None, None]).sum(1) / shares.sum(1, keepdim=True)
    images = g(features)
    assert images.shape == (3, 3, 64, 64) and torch.allclose(images, mixed, atol=1e-5)
    images.square().sum().backward()
    assert all(parameter.grad is not None for parameter in g.parameters())


@pytest.mark.parametrize(("size", "norm"), [(64, "spectral"), (96, "batch"), (96, "spectral")])
def test_d_accepts_64_and_96_pixels(size, norm):
    D = registry().build("discriminator", use("face-discriminator", width=4, norm=norm, classes=K), 3, size).eval()  # noqa: N806
    images = torch.rand(2, 3, size, size) * 2 - 1
    condition = torch.zeros(2, K).index_fill_(1, torch.tensor([0, 3]), 1.0)
    layers = D.layers(images)
    assert D(images).shape == (2, 3) and torch.allclose(D(images), layers[:, 0])
    assert torch.allclose(D(images, condition), layers[:, 0] + layers[:, 1] + layers[:, 4], atol=1e-5)


def test_d_refuses_small_images():
    with pytest.raises(DomtransError, match="supports 32 to 1,024 pixels, not 16"):
        registry().build("discriminator", use("face-discriminator"), 3, 16)


# g with flat colours


def test_every_pixel_mixes_the_colours_of_its_image():
    torch.manual_seed(0)
    palette = Palette(8, 3, 4)
    torch.nn.init.normal_(palette.colours.weight)
    logits, features = torch.randn(2, 4, 5, 7), torch.randn(2, 8)
    shares, colours = (8 * logits).softmax(1), torch.tanh(palette.colours(features)).view(2, 4, 3)
    by_hand = torch.stack([sum(shares[:, i] * colours[:, i, c, None, None] for i in range(4)) for c in range(3)], 1)
    for form in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(palette(logits.contiguous(memory_format=form), features), by_hand)
