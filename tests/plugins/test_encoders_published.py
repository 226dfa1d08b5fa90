"""Face recognisers with published weights: strict loading, correct arithmetic, a gradient to every pixel of the crop."""

import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from commands import in_process
from domtrans import DomtransError, FrozenEncoder, ImageSet, load, to_float, train, use
from domtrans_encoders.published import PReLU
from paths import SHARED
from published_weights import FACES, published
from tiny import registry, tiny_recipe, tiny_trainer

LAYOUTS, FACE_ARCHIVE = SHARED / "weights" / "published_layouts.json", SHARED / "data" / "lfw" / "lfw_480ids_160px.zip"
REAL = {
    "dlib-resnet": SHARED / "weights" / "dlib_resnet128.safetensors",
    "mobilefacenet": SHARED / "weights" / "mobilefacenet_192.safetensors",
}
FEATURES = {"dlib-resnet": 128, "mobilefacenet": 192, "openface": 128, "sphereface": 512}


def build(name, size=32, **options):
    """A frozen encoder with its weights, as in training."""
    f = registry().build("encoder", use(name, **{"path": published(name), **options}), size, 4)
    f.load_pretrained()
    return f.requires_grad_(False).eval()


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in FACES for size in (24, 200)])
def test_images_of_any_size_work_and_the_gradient_covers_the_crop(name, size):
    f = FrozenEncoder(build(name, size))
    images = (torch.rand(2, 3, size, size) * 2 - 1).requires_grad_()
    features = f(images)
    assert features.shape == (2, FEATURES[name]) and features.dtype == torch.float32 and not f.has_head()
    (features * torch.randn_like(features)).sum().backward()
    seen = (images.grad.abs().sum(1) > 0)[0].nonzero()
    low, high = seen.min(0).values, seen.max(0).values
    assert torch.isfinite(images.grad).all() and (images.grad.abs().sum((1, 2, 3)) > 0).all()
    part = f.encoder.window
    wanted = torch.tensor([part.top, (part.side - part.size[1]) // 2]) / part.side * size
    assert ((low - wanted).abs() < 2).all()
    assert ((high + 1 - wanted - torch.tensor(part.size) / part.side * size).abs() < 0.06 * size + 2).all()


@pytest.mark.parametrize("name", ["mobilefacenet", "onnx"])
def test_the_const_loss_trains_g_through_the_encoder(tmp_path, name):
    encoder = {"name": name, "path": published(name)}
    alone = {"const": {"name": "feature-consistency", "distance": "mse", "of": "source"}}
    trainer = tiny_trainer(tiny_recipe(tmp_path, encoder=encoder, fit=None, generator_losses=alone))
    trainer.step()
    assert all(weight.grad.abs().sum() > 0 for weight in trainer.g.parameters() if weight.ndim == 4)


def test_a_run_loads_without_the_published_file(tmp_path):
    file = tmp_path / "own.safetensors"
    save_file(load_file(published("mobilefacenet")), file)
    recipe = tiny_recipe(tmp_path, encoder={"name": "mobilefacenet", "path": str(file)}, fit=None, train__steps=1)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    file.unlink()
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(run.path, device="cpu", registry=registry()).transfer(image), run.transfer(image))


@pytest.mark.parametrize("name", FACES)
def test_a_missing_file_or_path_is_a_clear_error(name):
    if name != "dlib-resnet":  # its weights come with the extra faces
        with pytest.raises(
            DomtransError, match=f"the encoder '{name}' needs its published weights: give .* with encoder.path="
        ):
            build(name, path=None)
    suffix = Path(published(name)).suffix
    with pytest.raises(DomtransError, match=f"there is no file nowhere{suffix}"):
        build(name, path=f"nowhere{suffix}")


def test_the_command_line_exits_with_code_2(capsys, data, tmp_path):
    code, _, error = in_process(capsys, "train", "digits-dtn-paper", *data, "encoder=openface", "--out", tmp_path / "run", "-q")
    assert code == 2 and "give openface.pth with encoder.path=FILE" in error and "Traceback" not in error


@pytest.mark.parametrize("name", ["dlib-resnet", "mobilefacenet"])
def test_other_weights_are_refused(tmp_path, name):
    path = tmp_path / "other.safetensors"
    whole = load_file(published(name))
    key = sorted(whole)[3]
    for changed in ({**whole, "more": torch.zeros(2)}, {k: v for k, v in whole.items() if k != key}, {"fc": torch.zeros(3)}):
        save_file(changed, path)
        with pytest.raises(DomtransError, match=r"other.safetensors does not (fit|hold)"):
            build(name, path=str(path))


def test_the_first_difference_of_a_state_dict_is_named(tmp_path):
    path, whole = tmp_path / "openface.pth", torch.load(published("openface"), weights_only=True)
    for changed, problem in (
        ({**whole, "layer9.bias": torch.zeros(3)}, r"layer9.bias has the shape \[3\] instead of \[192\]"),
        ({k: v for k, v in whole.items() if k != "layer9.bias"}, "layer9.bias is missing from the file"),
        ({**whole, "layer99.bias": torch.zeros(3)}, "layer99.bias is not expected in the file"),
    ):
        torch.save(changed, path)
        with pytest.raises(DomtransError, match=f"openface.pth does not fit OpenFace nn4.small2.v1: {problem}"):
            build("openface", path=str(path))


@pytest.mark.parametrize(("name", "layout"), [("openface", "openface_nn4_small2_v1"), ("sphereface", "sphere20a_20171020")])
def test_the_published_layout_loads(tmp_path, name, layout):
    if not LAYOUTS.exists():
        pytest.skip("../shared/weights/published_layouts.json is not here")
    shapes = json.loads(LAYOUTS.read_text())[layout]
    state = {key: torch.rand(shape) if shape else torch.tensor(1) for key, shape in shapes.items()}
    torch.save(state, tmp_path / "published.pth")
    loaded = build(name, path=str(tmp_path / "published.pth")).body.state_dict()
    assert set(state) - set(loaded) == ({"fc6.weight"} if name == "sphereface" else set())
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_openfaces_response_normalisation_is_differentiable():
    layer = build("openface").body["layer5"]
    x = torch.randn(2, 64, 3, 3, dtype=torch.float64).mul_(30).requires_grad_()
    wanted = torch.empty_like(x)
    for c in range(64):
        around = x[:, max(0, c - 2) : c + 3].square().sum(1)
        wanted[:, c] = x[:, c] / (1 + 1e-4 / 5 * around) ** 0.75
    torch.testing.assert_close(layer(x), wanted)
    assert torch.autograd.gradcheck(layer, (x[:1, :8, :1, :1].detach().requires_grad_(),))


def test_openfaces_pooled_features_precede_the_embedding():
    embedding, pooled = build("openface"), build("openface", features="pooled")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    found = pooled(images)
    assert found.shape == (2, 736)
    torch.testing.assert_close(embedding(images), F.normalize(embedding.body["layer25"](found)))


def test_mobilefacenets_map_precedes_the_embedding():
    embedding, places = build("mobilefacenet", path=published("mobilefacenet")), build("mobilefacenet", features="map")
    places.load_state_dict(embedding.state_dict())
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    found = places(images)
    assert found.shape == (2, places.feature_size) == (2, 6272)
    torch.testing.assert_close(F.normalize(places.body[-4:](found.view(2, 128, 7, 7)).flatten(1)), embedding(images))


def test_dlibs_shortcuts_are_pooled_and_zero_padded():
    block = build("dlib-resnet").body["conv64_down"]
    for side, half in ((8, 4), (7, 3)):  # for even sides the convolutions give one row less than the pooling
        x = torch.rand(1, 32, side, side)
        inner = block.conv2(F.relu(block.conv1(x)))
        wanted = torch.zeros(1, 64, half, half)
        wanted[:, :32] = F.avg_pool2d(x, 2)
        wanted[..., : inner.shape[2], : inner.shape[3]] += inner
        torch.testing.assert_close(block(x), F.relu(wanted))


def test_dlibs_last_map_has_2_x_2_pixels_at_every_allowed_resolution():
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    for resolution in (135, 150, 198):
        f, seen = build("dlib-resnet", resolution=resolution), []
        f.body["conv256_down_out"].register_forward_hook(lambda _, __, found, seen=seen: seen.append(found.shape[2:]))
        assert f(images).shape == (1, 128) and seen == [(2, 2)]
    for resolution in (134, 199):
        with pytest.raises(DomtransError, match="option 'resolution'"):
            build("dlib-resnet", resolution=resolution)


def test_mobilefacenet_matches_the_layer_list_of_the_weights_file():
    if not REAL["mobilefacenet"].exists():
        pytest.skip("../shared/weights/mobilefacenet_192.safetensors is not here")
    from safetensors import safe_open

    with safe_open(REAL["mobilefacenet"], framework="pt") as file:
        described = json.loads(file.metadata()["layers"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    x, results = torch.rand(1, 3, 112, 112) * 2 - 1, []
    body = build("mobilefacenet", path=str(REAL["mobilefacenet"])).body
    wanted = body(x)
    for number, layer in enumerate(described):  # run the file's own description layer by layer
        source = x if layer["src"] < 0 else results[layer["src"]]
        if layer["kind"] == "add":
            results.append(source + results[layer["src2"]])
            continue
        if layer["same"]:
            more = max((-(-source.shape[2] // layer["stride"]) - 1) * layer["stride"] + layer["k"] - source.shape[2], 0)
            source = F.pad(source, (more // 2, more - more // 2) * 2)
        groups = layer["cin"] if layer["kind"] == "dw" else 1
        found = F.conv2d(source, weights[f"{number}.weight"], weights[f"{number}.bias"], layer["stride"], groups=groups)
        results.append(F.prelu(found, weights[f"{number}.prelu"]) if layer["prelu"] else found)
    torch.testing.assert_close(wanted, results[-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", REAL)
def test_real_weights_distinguish_people(name):
    if not (REAL[name].exists() and FACE_ARCHIVE.exists()):
        pytest.skip("the weights or the faces of ../shared are not here")
    with zipfile.ZipFile(FACE_ARCHIVE) as archive:
        names = [f for f in sorted(archive.namelist()) if 200 <= int(f.partition("/")[0]) < 220]
        firsts = [f for person in range(200, 220) for f in [f for f in names if f.startswith(f"{person:04}/")][:2]]
        pixels = np.stack([np.asarray(Image.open(BytesIO(archive.read(f)))) for f in firsts])
    features = build(name, 64, path=str(REAL[name]))(to_float(ImageSet.from_arrays(pixels, size=64).images))
    alike = F.normalize(features, dim=1) @ F.normalize(features, dim=1).T
    same = torch.arange(40) // 2
    same = (same[:, None] == same[None]) & ~torch.eye(40, dtype=torch.bool)
    other = (torch.arange(40) // 2)[:, None] != (torch.arange(40) // 2)[None]
    threshold = alike[other].quantile(0.95)
    assert (alike[same] > threshold).float().mean() >= 0.9


def test_prelu_has_the_gradients_of_torchs():
    ours, theirs = PReLU(5), torch.nn.PReLU(5)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([-0.5, 0.0, 0.3, 1.0, 2.0]))
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 5, 3, 4, requires_grad=True)
    gradients = [torch.autograd.grad(network(images).square().sum(), [images, network.weight]) for network in (ours, theirs)]
    torch.testing.assert_close(*gradients)
