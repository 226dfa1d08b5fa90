"""Networks in ONNX files as f: the same function, differentiable; unusable files give one clear error."""

import sys

import numpy as np
import pytest
import torch

from domtrans import DomtransError, FrozenEncoder, load, train, use
from domtrans.testing import check_encoder
from published_weights import onnx_file
from tiny import registry, tiny_recipe

pytest.importorskip("onnx2torch", reason="the extra domtrans[onnx] is not installed")


def build(path, size=16, **options):
    return registry().build("encoder", use("onnx", path=str(path), **options), size, 0).eval()


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_output_matches_the_onnx_reference(tmp_path, nhwc, flat):
    from onnx.reference import ReferenceEvaluator

    path = onnx_file(tmp_path / "net.onnx", nhwc=nhwc, flat=flat)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    given = (images * 127.5 + 127.5 - 10) / 20
    (wanted,) = ReferenceEvaluator(path).run(None, {"image": (given.permute(0, 2, 3, 1) if nhwc else given).numpy()})
    found = build(path, mean=[10, 10, 10], scale=[20, 20, 20])(images)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_an_intermediate_tensor_can_be_the_features_and_a_map_is_averaged(tmp_path):
    from onnx.reference import ReferenceEvaluator

    path = onnx_file(tmp_path / "net.onnx")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    f = build(path, output="map")
    evaluator = ReferenceEvaluator(path, verbose=0)
    wanted = f.body(images)
    assert wanted.shape == (2, 4, 8, 8) and f.feature_size == 4
    torch.testing.assert_close(f(images), wanted.mean((2, 3)))
    assert evaluator.output_names == ["features"]


def test_the_contract_holds_and_the_gradient_reaches_the_images(tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    check_encoder(registry(), "onnx", path=path, size=24)
    images = (torch.rand(2, 3, 24, 24) * 2 - 1).requires_grad_()
    FrozenEncoder(build(path, 24))(images).square().sum().backward()
    assert (images.grad.abs().sum(1) > 0).float().mean() > 0.9


def test_a_network_of_any_size_uses_the_chosen_resolution(tmp_path):
    path = onnx_file(tmp_path / "net.onnx", flat=False)
    seen = []
    for options, side in (({}, 24), ({"resolution": 40}, 40)):
        f = build(path, 24, **options)
        f.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
        assert f(torch.zeros(1, 3, 24, 24)).shape == (1, 6) and seen.pop() == side


def test_a_run_trains_and_loads(tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    recipe = tiny_recipe(tmp_path, encoder={"name": "onnx", "path": path}, fit=None, train__steps=2)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(run.path, device="cpu", registry=registry()).transfer(image), run.transfer(image))


def test_the_error_without_onnx2torch_says_what_to_install(tmp_path, monkeypatch):
    path = onnx_file(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    with pytest.raises(DomtransError, match=r"the encoder 'onnx' needs onnx2torch .*pip install 'domtrans\[onnx\]'"):
        build(path)


def test_unusable_files_and_options_are_refused(tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk, not a graph")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(DomtransError, match=r"there is no file .*nowhere.onnx"):
        build(tmp_path / "nowhere.onnx")
    for name in ("junk.onnx", "empty.onnx"):
        with pytest.raises(DomtransError, match=f"{name} "):
            build(tmp_path / name)
    with pytest.raises(DomtransError, match=r"has no tensor 'maap'; use an output \(features\) or any intermediate tensor"):
        build(path, output="maap")
    with pytest.raises(DomtransError, match=r"option 'scale' must not contain 0"):
        build(path, scale=[0, 1, 1])
    with pytest.raises(DomtransError, match=r"option 'mean'.*at least 3"):
        build(path, mean=[1])
    one = onnx_file(tmp_path / "one.onnx", batch=1)
    with pytest.raises(DomtransError, match=r"one.onnx gives \[1, 12\]|one.onnx does not work on a batch|one.onnx gives \[1"):
        build(one)
