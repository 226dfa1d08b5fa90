"""Weights in TensorFlow.js format: dequantised; damaged files give one clear error."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from domtrans import DomtransError, use
from domtrans_encoders.tfjs import read_manifest
from published_weights import published
from tiny import registry


def write(folder, tensors, *, shards=2, **changes):
    """A manifest of uint8 tensors, cut into shards; returns its path and the dequantised tensors."""
    entries, content, wanted = [], b"", {}
    for name, values in tensors.items():
        low, scale = float(values.min()), max(float(values.max() - values.min()) / 255, 1e-12)
        stored = ((values - low) / scale).round().to(torch.uint8)
        wanted[name] = stored.float() * scale + low
        content += stored.numpy().tobytes()
        quantization = {"dtype": "uint8", "scale": scale, "min": low}
        entries.append({"name": name, "shape": list(values.shape), "dtype": "float32", "quantization": quantization})
    cuts = np.linspace(0, len(content), shards + 1).astype(int)
    for number in range(shards):
        (folder / f"shard{number}").write_bytes(content[cuts[number] : cuts[number + 1]])
    manifest = {"weights": entries, "paths": [f"shard{number}" for number in range(shards)]} | changes
    (folder / "manifest.json").write_text(json.dumps([manifest]))
    return folder / "manifest.json", wanted


def test_one_byte_weights_are_dequantised(tmp_path):
    path, wanted = write(tmp_path, {"a/b": torch.randn(3, 4, 5), "c": torch.randn(7)})
    found = read_manifest(path)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values)


def test_float32_weights_are_read(tmp_path):
    values = np.arange(6, dtype="<f4")
    (tmp_path / "shard").write_bytes(values.tobytes())
    manifest = [{"weights": [{"name": "a", "shape": [2, 3], "dtype": "float32"}], "paths": ["shard"]}]
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    assert torch.equal(read_manifest(tmp_path / "m.json")["a"], torch.from_numpy(values).view(2, 3))


def test_dlib_loads_from_a_face_api_manifest(tmp_path):
    tensors = {name.replace(".", "/"): value for name, value in load_file(published("dlib-resnet")).items()}
    path, wanted = write(tmp_path, tensors)
    f = registry().build("encoder", use("dlib-resnet", path=str(path)), 64, 0)
    f.load_pretrained()
    layer = "conv128_1/conv2"
    scale = wanted[f"{layer}/scale/weights"]
    torch.testing.assert_close(
        f.body["conv128_1"].conv2.weight, wanted[f"{layer}/conv/filters"].permute(3, 2, 0, 1) * scale.view(-1, 1, 1, 1)
    )
    torch.testing.assert_close(
        f.body["conv128_1"].conv2.bias, wanted[f"{layer}/conv/bias"] * scale + wanted[f"{layer}/scale/biases"]
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"paths": ["../shard0", "shard1"]}, "outside its folder"),
        ({"paths": ["shard0"]}, "buffer|bytes"),
        ({"paths": ["shard0", "shard1", "shard1"]}, "describes 67 bytes, but the files have"),
        ({"paths": 3}, "not a complete TensorFlow.js weights manifest"),
        ({"weights": [{"name": "a", "shape": [67], "dtype": "int32"}]}, "stored as int32"),
        ({"weights": [{"name": "a", "shape": [-2], "dtype": "float32"}]}, "not a complete TensorFlow.js weights manifest"),
        ({"weights": [{"name": "a"}]}, "not a complete TensorFlow.js weights manifest"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, changes, problem):
    path, _ = write(tmp_path, {"a/b": torch.randn(3, 4, 5), "c": torch.randn(7)}, **changes)
    with pytest.raises(DomtransError, match=problem):
        read_manifest(path)


def test_missing_files_and_invalid_json_are_refused(tmp_path):
    with pytest.raises(DomtransError, match=r"there is no file .*nothing.json"):
        read_manifest(tmp_path / "nothing.json")
    path, _ = write(tmp_path, {"c": torch.randn(7)})
    (tmp_path / "shard1").unlink()
    with pytest.raises(DomtransError, match=r"there is no file .*shard1"):
        read_manifest(path)
    for content in (b"", b"[[[", b'{"weights": []}', b"\xff\xfe", b"null", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DomtransError, match=r"manifest.json is not a complete TensorFlow.js weights manifest"):
            read_manifest(path)
