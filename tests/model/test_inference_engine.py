"""Inference engines give the pixels of torch, from a graph that is made once."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

import dots
from commands import in_process
from domtrans import Cache, DomtransError, load
from domtrans.model import inference_engine, onnx_graph
from image_folders import opened, photo
from tiny import registry

IMAGES = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def run(trained):
    return load(trained[0], device="cpu", registry=registry())


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request, run):
    """An engine whose graph of the run is in the cache."""
    for library in (request.param, "onnxscript"):
        pytest.importorskip(library)
    run.transfer(IMAGES, engine=request.param)
    return request.param


def largest_difference(made, wanted):
    return np.abs(np.asarray(made, dtype=int) - np.asarray(wanted, dtype=int)).max()


def test_an_engine_gives_the_pixels_of_torch_for_every_kind_of_input(run, engine):
    grey, several = Image.new("L", (40, 50), 90), [Image.new("RGB", (32, 32), "red"), Image.new("L", (9, 9))]
    for images in (IMAGES, IMAGES[:1], IMAGES[:, :1], grey):
        assert largest_difference(run.transfer(images, engine=engine), run.transfer(images)) <= 1
    made, wanted = run.transfer(several, engine=engine), run.transfer(several)
    assert all(largest_difference(*pair) <= 1 for pair in zip(made, wanted, strict=True))
    floats = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert torch.allclose(run.transfer(floats, engine=engine), run.transfer(floats), atol=1e-4)


def test_a_graph_is_made_once_for_the_same_weights(trained, engine, monkeypatch):
    monkeypatch.setattr(onnx_graph, "make_graph", lambda *_: pytest.fail("the graph was not in the cache"))
    again = load(trained[0], device="cpu", registry=registry())
    assert largest_difference(again.transfer(IMAGES, engine=engine), again.transfer(IMAGES)) <= 1
    made = []
    monkeypatch.setattr(onnx_graph, "make_graph", lambda *_: made.append(1) or 1 / 0)
    other = load(trained[0], device="cpu", registry=registry())
    with torch.no_grad():
        next(other.generator.parameters()).add_(1)
    with pytest.raises(DomtransError, match="cannot be traced into an ONNX graph: ZeroDivisionError"):
        other.transfer(IMAGES, engine=engine)
    assert made, "other weights are another network"


def test_a_damaged_graph_is_made_again(trained, engine):
    graphs = [file for file in (Cache().folder / "graphs").iterdir() if file.is_file()]
    assert graphs
    for graph in graphs:
        content = bytearray(graph.read_bytes())
        content[-200:] = bytes(200)
        graph.write_bytes(content)
    again = load(trained[0], device="cpu", registry=registry())
    assert largest_difference(again.transfer(IMAGES, engine=engine), again.transfer(IMAGES)) <= 1


@pytest.mark.parametrize(
    ("dtype", "error", "accepted"), [("float32", 0.007, True), ("float32", 0.02, False), ("bfloat16", 0.02, True)]
)
def test_an_engine_that_gives_other_pixels_is_refused(run, dtype, error, accepted):
    images = inference_engine.noise(2, 3, 32)
    with torch.no_grad(), nullcontext() if accepted else pytest.raises(DomtransError, match=r"differ by 2\.\d of 255 levels"):
        inference_engine.check(lambda x: run.model(x) + error, run.model, images, getattr(torch, dtype), "mine")


@pytest.mark.parametrize(
    ("installed", "precision", "picked"),
    [
        ({"onnx", "onnxscript", "onnxruntime", "openvino"}, "float32", "onnxruntime"),
        ({"onnx", "onnxscript", "openvino"}, "float32", "openvino"),
        ({"onnx", "onnxscript", "onnxruntime", "openvino"}, "bf16", "openvino"),
        ({"onnx", "onnxscript", "onnxruntime"}, "bf16", "torch"),
        ({"onnxruntime", "openvino"}, "float32", "torch"),
    ],
)
def test_auto_is_the_first_engine_that_is_installed_and_can_compute(run, monkeypatch, installed, precision, picked):
    monkeypatch.setattr(inference_engine, "find_spec", lambda name: name in installed or None)
    run.precision = precision
    assert run.inference_engine("auto") == picked


def test_what_an_engine_cannot_compute_is_said_in_one_sentence(run, trained, tmp_path, capsys):
    code, _, stderr = in_process(
        capsys, "transfer", trained[0], photo(tmp_path / "a.png"), tmp_path / "b.png", "--engine", "fast"
    )
    assert code == 2 and stderr == "error: the engine 'fast' is not supported; choose auto, torch, onnxruntime, openvino\n"
    run.precision = "bf16"
    with pytest.raises(DomtransError, match="'onnxruntime' computes in float32 only"):
        run.transfer(IMAGES, engine="onnxruntime")
    drawn = dots.train_run(tmp_path / "drawn", registry=dots.registry())
    assert drawn.inference_engine("auto") == "torch"
    with pytest.raises(DomtransError, match="draws by parameters, which the engine 'openvino' does not compute"):
        drawn.transfer(IMAGES, engine="openvino")


def test_a_folder_through_an_engine(trained, engine, tmp_path, capsys):
    for name in ("a.png", "b.jpg"):
        photo(tmp_path / "in" / name)
    for chosen in ("torch", engine):
        code, stdout, _ = in_process(capsys, "transfer", trained[0], tmp_path / "in", tmp_path / chosen, "--engine", chosen)
        assert (code, stdout) == (0, f"wrote 2 images to {tmp_path / chosen}\n")
    for name in ("a.png", "b.png"):
        assert largest_difference(opened(tmp_path / engine / name), opened(tmp_path / "torch" / name)) <= 1
