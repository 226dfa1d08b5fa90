"""Weight files in the published layouts, with random weights."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from domtrans_encoders.dlib_resnet import DlibResNet
from domtrans_encoders.mobilefacenet import Convolution, MobileFaceNet
from domtrans_encoders.openface import OpenFace
from domtrans_encoders.sphereface import SphereFace

FACES = ["dlib-resnet", "mobilefacenet", "openface", "sphereface"]
"""Face recognisers with published weights; they have no head."""

NEED_A_FILE = [*FACES, "onnx"]
"""Encoders that cannot be used without a file of weights."""


@functools.cache
def published(name: str) -> str:
    """Path of a weights file for an encoder."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    if name == "onnx":
        return onnx_file(folder / "net.onnx")
    body = {"dlib-resnet": DlibResNet, "mobilefacenet": MobileFaceNet, "openface": OpenFace, "sphereface": SphereFace}[name](
        64, 0
    ).body
    path = folder / f"{name}{'.safetensors' if name in ('dlib-resnet', 'mobilefacenet') else '.pth'}"
    if name == "dlib-resnet":
        save_file(as_dlib(body), path)
    elif name == "mobilefacenet":
        save_file(as_mobilefacenet(body), path)
    else:
        torch.save(body.state_dict() | ({"fc6.weight": torch.zeros(10574, 512)} if name == "sphereface" else {}), path)
    return str(path)


def needed(name: str) -> dict[str, str]:
    """The required options of an encoder."""
    return {"path": published(name)} if name == "onnx" else {}


def as_dlib(body: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights in face-api's layout: filters H W I O, and a scale per layer."""
    found = {"fc": body["fc"].weight.t().contiguous()}
    for name, layer in body.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            scale, shift = torch.rand(len(layer.bias)) + 0.5, torch.randn(len(layer.bias))
            found[f"{name}.conv.filters"] = (layer.weight / scale.view(-1, 1, 1, 1)).permute(2, 3, 1, 0).contiguous()
            found[f"{name}.conv.bias"] = (layer.bias - shift) / scale
            found[f"{name}.scale.weights"], found[f"{name}.scale.biases"] = scale, shift
    return {name: value.detach() for name, value in found.items()}


def as_mobilefacenet(body: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights by layer number; a number is skipped after every shortcut."""
    found, number = {}, 0
    for name, layer in body.named_modules():
        if isinstance(layer, Convolution):
            found |= {f"{number}.weight": layer.conv.weight, f"{number}.bias": layer.conv.bias}
            if isinstance(layer.act, torch.nn.PReLU):
                found[f"{number}.prelu"] = layer.act.weight
            holder = body.get_submodule(name.removesuffix(".layers.2")) if name.endswith(".layers.2") else None
            number += 2 if getattr(holder, "shortcut", False) else 1
    return {name: value.detach().clone() for name, value in found.items()}


def onnx_file(path: Path, *, batch: str | int = "n", nhwc: bool = False, flat: bool = True) -> str:
    """A small convolutional net, B 3 16 16 (or B 16 16 3) to "map" [B, 4, 8, 8] and "features" [B, 6]."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
    from onnx import helper, numpy_helper

    generator = torch.Generator().manual_seed(0)
    shapes = {"filters": (4, 3, 3, 3), "matrix": (4 * 64 if flat else 4, 6)}
    weights = [numpy_helper.from_array(torch.randn(shape, generator=generator).numpy(), name) for name, shape in shapes.items()]
    weights.append(numpy_helper.from_array(torch.tensor([batch if isinstance(batch, int) else 0, -1]).numpy(), "shape"))
    seen = "turned" if nhwc else "image"
    nodes = [helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2])] if nhwc else []
    nodes += [
        helper.make_node("Conv", [seen, "filters"], ["convolved"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["map"]),
    ]
    if flat:
        nodes.append(helper.make_node("Reshape", ["map", "shape"], ["vector"]))
    else:
        nodes += [helper.make_node("GlobalAveragePool", ["map"], ["mean"]), helper.make_node("Flatten", ["mean"], ["vector"])]
    nodes.append(helper.make_node("MatMul", ["vector", "matrix"], ["features"]))
    side = 16 if flat else "side"
    sides = [batch, side, side, 3] if nhwc else [batch, 3, side, side]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [batch, 6])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return str(path)
