"""A loaded run: transfer, encode, evaluate on other data; and files that cannot be loaded."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from domtrans import DomtransError, evaluate, load, train
from domtrans.storage.tensors import read_tensors, write_tensors
from tiny import bars, registry, tiny_recipe, write_bars


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose training data was deleted."""
    root = tmp_path_factory.mktemp("runs")
    path = train(tiny_recipe(root, train__steps=2), root / "run", device="cpu", registry=registry()).path
    (root / "source.npz").unlink()
    return path


@pytest.fixture(scope="module")
def run(folder):
    return load(folder, device="cpu", registry=registry())


PIXELS = torch.from_numpy(bars(5)[0]).permute(0, 3, 1, 2).contiguous()


def test_a_loaded_run_has_its_recipe_and_results(run, folder):
    assert run.path == folder and run.recipe.name == "digits-dtn-paper" and run.results["steps"] == 2
    assert not run.model.training and not any(module.training for module in run.model.modules())


def test_tensors_keep_their_type(run):
    floats = PIXELS / 127.5 - 1
    from_floats, from_bytes = run.transfer(floats), run.transfer(PIXELS)
    assert from_floats.shape == from_bytes.shape == (5, 1, 32, 32)
    assert from_floats.dtype == torch.float32 and from_floats.abs().max() <= 1
    assert from_bytes.dtype == torch.uint8
    assert torch.equal(((from_floats + 1) * 127.5).round().to(torch.uint8), from_bytes)
    torch.testing.assert_close(run.transfer(floats.double()), from_floats)


def test_pil_images_give_pil_images(run):
    images = [Image.fromarray(image) for image in bars(5)[0]]
    made = run.transfer(images)
    assert [image.mode for image in made] == ["L"] * 5 and {image.size for image in made} == {(32, 32)}
    assert np.array_equal(np.stack([np.asarray(image) for image in made])[:, None], run.transfer(PIXELS).numpy())
    assert np.array_equal(np.asarray(run.transfer(images[0])), np.asarray(made[0]))
    assert run.transfer([]) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
@pytest.mark.parametrize("size", [(32, 32), (7, 90), (200, 41), (1, 1)])
def test_pil_images_of_any_mode_and_size(run, mode, size):
    image = Image.new("F", size, 0.4) if mode == "F" else Image.new("RGB", size, (9, 200, 30))
    assert run.transfer(image.convert("L").convert("I") if mode == "I" else image.convert(mode)).size == (32, 32)


def test_floats_of_a_pil_image_are_between_0_and_1(run):
    with pytest.raises(DomtransError, match="floats must be from 0"):
        run.transfer(Image.new("F", (32, 32), 124))


def test_a_single_image_is_transferred_as_in_a_batch(run):
    torch.testing.assert_close(run.transfer(PIXELS[2:3] / 127.5 - 1), run.transfer(PIXELS / 127.5 - 1)[2:3], atol=1e-5, rtol=0)


def test_grey_tensors_are_accepted(run):
    grey = PIXELS[:, :1]
    difference = run.transfer(grey).int() - run.transfer(grey.expand(-1, 3, -1, -1)).int()
    assert difference.abs().max() <= 1


@pytest.mark.parametrize("side", [16, 28, 64])
def test_tensors_of_another_size(run, side):
    for images in (torch.zeros(2, 3, side, side + 5), torch.zeros(2, 3, side, side, dtype=torch.uint8)):
        assert run.transfer(images).shape == (2, 1, 32, 32)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 32, 32),
        torch.zeros(2, 2, 32, 32),
        torch.zeros(2, 32, 32, 3),
        torch.zeros(2, 3, 32, 32, dtype=torch.int64),
        torch.zeros(2, 3, 32, 32, dtype=torch.bool),
        torch.zeros(0, 3, 32, 32),
        torch.zeros(2, 3, 0, 32),
        Image.new("RGB", (0, 5)),
    ],
    ids=lambda images: f"{type(images).__name__}-{getattr(images, 'dtype', '')}-{getattr(images, 'shape', '')}",
)
def test_other_shapes_and_types_are_refused(run, images):
    for call in (run.transfer, run.encode):
        with pytest.raises(DomtransError):
            call(images)


def test_encode_gives_standardised_features(run):
    features = run.encode(PIXELS)
    assert features.shape == (5, 128) and features.dtype == torch.float32
    torch.testing.assert_close(features, run.encode(PIXELS / 127.5 - 1), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(run.encode([Image.fromarray(image) for image in bars(5)[0]]), features)
    torch.testing.assert_close(run.encode(Image.fromarray(bars(1)[0][0])), features[:1], atol=1e-3, rtol=1e-3)
    made = run.model.generator(features)
    torch.testing.assert_close(made, run.transfer(PIXELS / 127.5 - 1), atol=1e-3, rtol=0)


def test_evaluate_on_other_data_uses_all_of_it(run, tmp_path):
    path = write_bars(tmp_path / "other.npz", 32, seed=5)
    results = run.evaluate([f"source.path={path}"])
    assert results["n"] == 32 and path in results["source"]
    assert run.evaluate({"source": {"name": "arrays", "path": path}})["n"] == 32
    assert run.evaluate([f"source.path={path}", "source.holdout=0.5"])["n"] == 16
    for table in ({"name": "arrays", "path": path, "holdout": 0.5}, {"name": "arrays", "path": path, "holdout": 0.125}):
        wanted = round(32 * table["holdout"])
        assert run.evaluate({"source": table})["n"] == wanted
        assert run.evaluate([f"source={json.dumps(table)}"])["n"] == wanted
    assert evaluate(run, [f"source.path={path}"]) == results


def test_evaluate_with_another_target_keeps_what_the_evaluator_learns_from(run, tmp_path):
    source, target = write_bars(tmp_path / "s.npz", 8), write_bars(tmp_path / "t.npz", 12, channels=1, seed=4)
    results = run.evaluate([f"source.path={source}", f"target.path={target}"])
    assert results["n"] == 8 and target in results["target"] and "evaluator_accuracy" in results


def test_evaluate_without_labels_names_what_is_missing(run, tmp_path):
    path = write_bars(tmp_path / "other.npz", 8, labelled=False)
    assert "labels of the source" in run.evaluate([f"source.path={path}"])["not_measured"]["digits"]


def test_evaluate_changes_neither_weights_nor_the_random_state_of_the_caller(run, tmp_path):
    path = write_bars(tmp_path / "other.npz", 8)
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    before = torch.get_rng_state()
    run.evaluate([f"source.path={path}", "metrics.digits.steps=3"])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize("change", ["train.steps=3", "encoder.weights=x", "generator.width=8", "view=blur", "sorce=arrays"])
def test_evaluate_cannot_change_what_was_trained(run, change):
    with pytest.raises(DomtransError, match=r"evaluate cannot change|did you mean"):
        run.evaluate([change])


def test_missing_data_is_named(run):
    with pytest.raises(DomtransError, match=r"there is no file .*source\.npz"):
        run.evaluate()


def test_load_does_not_change_the_random_state_of_the_caller(folder):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load(folder, device="cpu", registry=registry())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def refused(path, message):
    with pytest.raises(DomtransError, match=message) as caught:
        load(path, device="cpu", registry=registry())
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_run(tmp_path):
    refused(tmp_path / "nowhere", "no run in .*: no such folder")
    refused(tmp_path, "is not a run: it has no recipe.json")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "it is a file, not a folder")


def test_a_run_without_a_model_yet(copy):
    (copy / "model.safetensors").unlink()
    refused(copy, "has no model")


def test_the_model_file_alone_is_enough(copy, run):
    for path in ("recipe.json", "results.json", "training.safetensors", "metrics.jsonl"):
        (copy / path).unlink()
    alone = load(copy, device="cpu", registry=registry())
    assert torch.equal(alone.transfer(PIXELS), run.transfer(PIXELS)) and alone.results == {}


def test_a_damaged_model(copy):
    whole = (copy / "model.safetensors").read_bytes()
    for content in (b"", whole[:7], whole[:1000], whole[:-1], b"\x00" * 100, b"PK\x03\x04" + whole):
        (copy / "model.safetensors").write_bytes(content)
        refused(copy, "not a complete safetensors file")
    middle = len(whole) // 2
    (copy / "model.safetensors").write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refused(copy, "damaged")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "domtrans-0"}, "not written by this version"),
        ({"about": "{"}, "does not hold the model"),
        ({"about": "[]"}, "does not hold the model"),
        ({"about": '{"classes": 3, "channels": 1}'}, "does not hold the model"),
        ({"about": '{"classes": [], "channels": 3}'}, "does not hold the model"),
        ({"recipe": "{}"}, "model.safetensors: option 'name' must be given"),
        ({"recipe": "[]"}, "model.safetensors"),
    ],
)
def test_a_model_file_with_wrong_metadata(copy, change, message):
    tensors, metadata = read_tensors(copy / "model.safetensors")
    write_tensors(copy / "model.safetensors", tensors, metadata | change)
    refused(copy, message)


def test_a_model_file_without_metadata_or_tensors(copy):
    tensors, metadata = read_tensors(copy / "model.safetensors")
    write_tensors(copy / "model.safetensors", tensors, {"format": metadata["format"]})
    refused(copy, "does not hold the model")
    write_tensors(copy / "model.safetensors", dict(list(tensors.items())[1:]), metadata)
    refused(copy, "does not hold the model")


def test_a_run_that_needs_a_plugin_which_is_missing(copy):
    tensors, metadata = read_tensors(copy / "model.safetensors")
    recipe = metadata["recipe"].replace('"digit-generator"', '"other-generator"')
    write_tensors(copy / "model.safetensors", tensors, metadata | {"recipe": recipe})
    refused(copy, "there is no generator 'other-generator'")


def test_a_device_that_is_not_available(folder):
    for device in ("cuda:99", "abacus", "meta"):
        with pytest.raises(DomtransError, match=f"the device '{device}' is not available here"):
            load(folder, device=device, registry=registry())


def test_a_run_transfers_in_bf16_on_request(folder, run):
    """Pixels differ by rounding only."""
    fast, images = load(folder, precision="bf16", registry=registry()), torch.rand(5, 3, 32, 32) * 2 - 1
    assert fast.transfer(images).dtype == torch.float32
    assert 0 < (fast.transfer(images) - run.transfer(images)).abs().max() < 0.05
    assert torch.equal(pickle.loads(pickle.dumps(fast)).transfer(images), fast.transfer(images))
    with pytest.raises(DomtransError, match="precision 'half' is not supported; choose auto, bf16, float32"):
        load(folder, precision="half")
