"""The timm encoder: any model, from any stage, from a local file; a gradient reaches the image."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny import registry, tiny_recipe

from domtrans import DomtransError, FrozenEncoder, load, train, use

SMALL = "resnet10t"


def build(size=32, classes=4, **options):
    return registry().build("encoder", use("timm", **{"model": SMALL, **options}), size, classes)


@pytest.mark.parametrize(
    ("options", "features"),
    [({}, 512), ({"stage": 1}, 64), ({"model": "vit_tiny_patch16_224", "input_size": 224}, 192), ({"input_size": 48}, 512)],
)
def test_features_of_any_model_and_stage_with_a_gradient_to_the_image(options, features):
    f = FrozenEncoder(build(**options).eval())
    images = (torch.rand(2, 1, 32, 32) * 2 - 1).requires_grad_()
    found = f(images)
    assert found.shape == (2, features) and f.classify(found).shape == (2, 4)
    found.square().sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_images_are_normalised_as_the_model_was_trained():
    f = build().eval()
    seen = []
    f.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    f(torch.full((1, 3, 32, 32), 1.0))
    mean, deviation = (torch.tensor(f.body.pretrained_cfg[key]) for key in ("mean", "std"))
    torch.testing.assert_close(seen[0][0, :, 0, 0], (1 - mean) / deviation)


def test_weights_from_a_local_file(tmp_path):
    torch.manual_seed(1)
    body = timm.create_model(SMALL, num_classes=0)
    save_file(body.state_dict(), tmp_path / "body.safetensors")
    f = build(file=str(tmp_path / "body.safetensors"), input_size=32)
    f.load_pretrained()
    assert all(torch.equal(value, body.state_dict()[name]) for name, value in f.body.state_dict().items())
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DomtransError, match=r"other.safetensors does not fit timm's resnet10t: .* is missing"):
        build(file=str(tmp_path / "other.safetensors")).load_pretrained()


def test_published_weights_that_cannot_be_had_end_in_one_sentence(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr(timm.models, "load_pretrained", offline)
    with pytest.raises(DomtransError, match=r"could not be had \(no route to the hub\); connect to the network, give a local"):
        build(pretrained=True, input_size=32).load_pretrained()


@pytest.mark.parametrize("options", [{"model": "no_such_net"}, {"stage": 99}])
def test_models_that_timm_cannot_build(options):
    with pytest.raises(DomtransError, match=r"timm cannot build .*timm.list_models\(\) names what there is"):
        build(**options)


def test_a_recipe_with_it_trains_and_its_run_loads_without_the_hub(tmp_path, monkeypatch):
    encoder = {"name": "timm", "model": SMALL, "file": None}
    run = train(tiny_recipe(tmp_path, encoder=encoder, train__steps=2), tmp_path / "run", device="cpu", registry=registry())
    monkeypatch.setattr(timm.models, "load_pretrained", None)
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(run.path, device="cpu", registry=registry()).transfer(image), run.transfer(image))
