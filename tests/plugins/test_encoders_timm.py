"""The timm encoder: any model and stage, weights from files and the hub, differentiable."""

import json
import socket

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from domtrans import DomtransError, FrozenEncoder, load, train, use
from domtrans_encoders import timm_models
from tiny import registry, tiny_recipe

SMALL = "resnet10t"
FACES = {
    "architecture": SMALL,
    "num_classes": 24,
    "pretrained_cfg": {
        "input_size": [3, 48, 48],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "num_classes": 24,
        "classifier": "fc",
        "first_conv": "conv1.0",
    },
}
"""config.json of a face recogniser on the hub, whose last layer gives its features."""


def build(size=32, classes=4, **options):
    return registry().build("encoder", use("timm", **{"model": SMALL, **options}), size, classes)


@pytest.mark.parametrize(
    ("options", "features"),
    [({}, 512), ({"stage": 1}, 64), ({"model": "vit_tiny_patch16_224", "input_size": 224}, 192), ({"input_size": 48}, 512)],
)
def test_any_model_and_stage_gives_features_with_a_gradient(options, features):
    f = FrozenEncoder(build(**options).eval())
    images = (torch.rand(2, 1, 32, 32) * 2 - 1).requires_grad_()
    found = f(images)
    assert found.shape == (2, features) and f.classify(found).shape == (2, 4)
    found.square().sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_images_are_normalised_as_in_the_models_training():
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
    f = build(path=str(tmp_path / "body.safetensors"), input_size=32)
    f.load_pretrained()
    assert all(torch.equal(value, body.state_dict()[name]) for name, value in f.body.state_dict().items())
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DomtransError, match=r"other.safetensors does not fit timm's resnet10t: .* is missing"):
        build(path=str(tmp_path / "other.safetensors")).load_pretrained()
    save_file({**body.state_dict(), "conv1.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DomtransError, match=r"does not fit timm's resnet10t: conv1.0.weight has the shape \[1\] instead of"):
        build(path=str(tmp_path / "other.safetensors")).load_pretrained()


@pytest.mark.parametrize("model", [SMALL, "vit_tiny_patch16_224"])
def test_a_stage_takes_its_weights_from_a_file_of_the_whole_model(tmp_path, model):
    torch.manual_seed(1)
    whole = timm.create_model(model)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    f = build(model=model, path=str(tmp_path / "whole.pth"), stage=1)
    f.load_pretrained()
    state = whole.state_dict()
    assert all(torch.equal(value, state[name.removeprefix("model.")]) for name, value in f.body.state_dict().items())
    half = {name: value for name, value in state.items() if "blocks.0" not in name and "layer1" not in name}
    torch.save(half, tmp_path / "whole.pth")
    with pytest.raises(DomtransError, match=r"whole.pth does not fit .* is missing"):
        build(model=model, path=str(tmp_path / "whole.pth"), stage=1).load_pretrained()


def test_a_failed_download_of_weights_is_a_clear_error(monkeypatch):
    def no_such_file(*_, **__):
        raise OSError("no such file on the hub")

    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: socket.socket())
    monkeypatch.setattr(timm.models._builder, "load_pretrained", no_such_file)
    with pytest.raises(
        DomtransError, match=r"could not be downloaded \(no such file on the hub\); connect to the network, give a local"
    ):
        build(pretrained=True, input_size=32).load_pretrained()


def test_without_a_network_one_attempt_is_made_and_the_cache_alone_is_used(monkeypatch):
    attempts, offline = [], []

    def refuse(address, timeout):
        attempts.append(address)
        raise OSError("no route to host")

    def load(*_, **__):
        offline.append(constants.HF_HUB_OFFLINE)
        raise OSError("not in the cache")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(timm_models, "getproxies", dict)
    monkeypatch.setattr(timm.models._builder, "load_pretrained", load)
    with pytest.raises(DomtransError, match=r"could not be downloaded \(the model hub cannot be reached\); connect"):
        build(pretrained=True, input_size=32).load_pretrained()
    assert len(attempts) == 1 and offline == [True] and constants.HF_HUB_OFFLINE is False


@pytest.fixture
def recogniser(tmp_path):
    """A folder downloaded from the hub."""
    torch.manual_seed(1)
    body = timm.create_model(SMALL, num_classes=24)
    save_file(body.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(FACES))
    return tmp_path, body.eval()


@pytest.mark.parametrize("hub", [False, True])
def test_a_recogniser_from_the_hub_gives_its_embedding(recogniser, monkeypatch, hub):
    folder, body = recogniser
    if hub:  # replace only the download by timm's hub client
        fetch = {"config.json": folder / "config.json", "model.safetensors": folder / "model.safetensors"}
        monkeypatch.setattr(timm.models._hub, "hf_hub_download", lambda repo_id, filename, **_: str(fetch[filename]))
        monkeypatch.setattr(timm.models._hub, "_has_hf_hub", True)
    f = build(model="hf-hub:owner/faces" if hub else f"local-dir:{folder}", pretrained=True, embedding=True, crop=0.8).eval()
    f.load_pretrained()
    images = torch.rand(2, 3, 60, 60) * 2 - 1
    found = f(images)
    middle = (images[..., 6:54, 6:54] / 2 + 0.5 - 0.5) / 0.25  # 48 of 60 pixels
    torch.testing.assert_close(found, body(middle))
    assert found.shape == (2, f.feature_size) == (2, 24)
    before = build(model=f"local-dir:{folder}", pretrained=True).eval()
    before.load_pretrained()
    assert before(images).shape == (2, 512)


def test_an_embedding_and_a_stage_exclude_each_other():
    with pytest.raises(DomtransError, match="give only one"):
        build(embedding=True, stage=1)


@pytest.mark.parametrize(("options", "shape"), [({}, (512, 1, 1)), ({"stage": 1, "input_size": 64}, (64, 16, 16))])
def test_maps_keep_the_layout_and_their_mean_is_what_the_head_reads(options, shape):
    f = build(model=SMALL, features="map", **options).eval()
    maps = f(torch.rand(2, 3, 32, 32) * 2 - 1)
    assert maps.shape == (2, *f.feature_shape) == (2, *shape)
    torch.testing.assert_close(f.logits(maps), f.head(maps.mean((2, 3))))
    with pytest.raises(DomtransError, match="features=map"):
        build(model=SMALL, features="map", embedding=True)


@pytest.mark.parametrize("options", [{"model": "no_such_net"}, {"stage": 99}])
def test_unknown_models_and_stages_are_refused(options):
    with pytest.raises(DomtransError, match=r"timm cannot build .*timm.list_models\(\) lists the models"):
        build(**options)


def test_a_run_trains_and_loads_without_the_hub(tmp_path, monkeypatch):
    encoder = {"name": "timm", "model": SMALL, "path": None}
    run = train(tiny_recipe(tmp_path, encoder=encoder, train__steps=2), tmp_path / "run", device="cpu", registry=registry())
    monkeypatch.setattr(timm.models._builder, "load_pretrained", None)
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(run.path, device="cpu", registry=registry()).transfer(image), run.transfer(image))
