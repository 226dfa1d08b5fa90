"""train.begin: g and D begin with the weights of another run."""

import pytest
import torch

from domtrans import DomtransError, load, override, pack
from domtrans.pretrained import models
from domtrans.runs.discriminator import read_discriminator
from domtrans.storage.tensors import read_tensors
from tiny import registry, tiny_recipe
from tiny_runs import go, unlike

FROZEN = {"train.generator_optimizer.lr": 1e-30, "train.discriminator_optimizer.lr": 1e-30, "train.ema": 0}
"""Steps that change no weight."""


def parameters(folder, prefix):
    """The parameters of g or D in a run's training state; the statistics of batch norm change in any step."""
    state, _ = read_tensors(folder / "training.safetensors")
    return {name: value for name, value in state.items() if name.startswith(prefix) and name.endswith(("weight", "bias"))}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    return go(tiny_recipe(folder, metrics__digits="none", train__ema=0), folder / "run")


@pytest.fixture(scope="module")
def packed(first, tmp_path_factory):
    return pack(first, tmp_path_factory.mktemp("packed") / "model", fp16=True).folder


def begun(run, name, out, **changes):
    """A run of the same recipe, and what its listeners were told."""
    notes = []
    recipe = override(run.recipe, {"train.begin": str(name), "train.steps": 1, "seed": 5} | changes, registry())
    return go(recipe, out, listeners=(lambda told: notes.append(told.note or ""),)), " ".join(notes)


def test_g_and_d_begin_with_the_weights_of_a_run(first, tmp_path):
    second, notes = begun(first, first.path, tmp_path / "run", **FROZEN, **{"encoder.weights": str(first.path)})
    for prefix in ("generator.", "discriminator."):
        before, after = (parameters(run.path, prefix) for run in (first, second))
        assert before and all(torch.allclose(after[name], value) for name, value in before.items())
    assert "g begins" not in notes and "holds no D" not in notes
    assert second.results["checks"]["begins_with"] == {"run": str(first.path), "supervision": first.results["supervision"]}


def test_a_model_file_holds_no_d_and_another_f_is_told(first, tmp_path):
    second, notes = begun(first, first.path / "model.safetensors", tmp_path / "run", **FROZEN)
    assert "holds no D, so D begins untrained" in notes and "but f does not" in notes and "add encoder.weights=" in notes
    before, after = (parameters(run.path, "discriminator.") for run in (first, second))
    assert not all(torch.equal(after[name], value) for name, value in before.items())


def test_a_run_that_begins_with_a_packed_one_is_resumed_exactly(first, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "FOLDER", packed.parent)
    changes = {"train.steps": 4, "train.save_every": 2, "encoder.weights": "models:model"}
    whole, notes = begun(first, "models:model", tmp_path / "whole", **changes)
    assert "holds no D" not in notes
    begun(first, "models:model", tmp_path / "parts", **changes | {"train.steps": 2})
    parts, _ = begun(first, "models:model", tmp_path / "parts2", **changes)
    resumed = go(override(whole.recipe, {}, registry()), tmp_path / "parts", resume=True)
    assert not unlike(whole, parts) and not unlike(whole, resumed)


def test_networks_of_other_shapes_are_refused(first, tmp_path):
    with pytest.raises(DomtransError, match=r"does not fit the generator \w+: .* has the shape"):
        begun(first, first.path, tmp_path / "g", **{"generator.width": 8})
    with pytest.raises(DomtransError, match=r"run does not fit the discriminator \w+: .* has the shape"):
        begun(first, first.path, tmp_path / "d", **{"discriminator.width": 8})
    with pytest.raises(DomtransError, match=r"there is no run in .*nothing: no such folder"):
        begun(first, tmp_path / "nothing", tmp_path / "n")
    with pytest.raises(DomtransError, match="no trained model models:nothing comes with domtrans"):
        begun(first, "models:nothing", tmp_path / "m")


def test_nothing_is_begun_with_by_default_and_none_removes_it(first):
    assert first.recipe.train.begin is None and "begins_with" not in first.results["checks"]
    assert override(first.recipe, ["train.begin=a", "train.begin=none"], registry()).train.begin is None


def test_a_packed_run_in_float16_has_d_and_results_of_the_rounded_weights(first, packed):
    weights, _ = read_tensors(packed / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values() if tensor.ndim > 1} == {torch.float16}
    assert {tensor.dtype for tensor in weights.values() if tensor.ndim == 1} == {torch.float32}
    rounded = load(packed, device="cpu", registry=registry())
    assert rounded.about["stored_as"] == "float16" and "rounded to float16" in (packed / "README.md").read_text()
    assert next(rounded.generator.parameters()).dtype == torch.float32
    assert read_discriminator(packed).keys() == read_discriminator(first.path).keys()
