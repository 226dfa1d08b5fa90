"""Data that Python code passes to ``train`` and ``evaluate``."""

import json
import threading

import numpy as np
import pytest
import torch

import domtrans
from commands import in_process
from domtrans import DomtransError, Stopped
from tiny import bars, tiny_recipe
from tiny_runs import go, stop_at, unlike


def data_of(tmp_path):
    """The arrays of the tiny recipe, and the recipe with the split of ``train(source=...)``."""
    recipe = tiny_recipe(tmp_path, source__holdout=0.125, target__holdout=0.125)
    arrays = {}
    for name in ("source", "target"):
        images, labels = bars(32, channels=3 if name == "source" else 1, seed=0 if name == "source" else 1)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
        arrays[name] = (images, labels)
    return recipe, arrays


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe, arrays = data_of(folder)
    return recipe, arrays, go(recipe, folder / "python", **arrays), go(recipe, folder / "file")


def test_training_on_arrays_equals_training_on_their_file(trained):
    _, _, mine, files = trained
    assert unlike(mine, files) == []
    assert mine.results["accuracy"] == files.results["accuracy"]
    assert mine.about["data"] == files.about["data"] and mine.about["classes"] == files.about["classes"]


def test_the_recipe_says_that_the_data_came_from_python(trained, tmp_path, capsys):
    _, _, run, _ = trained
    recipe = json.loads((run.path / "recipe.json").read_text())
    assert recipe["source"]["name"] == "python" and len(recipe["source"]["fingerprint"]) == 16
    assert recipe["source"]["about"] == "28 training and 4 test images of 4 classes (0, 1, 2, 3), passed from Python"
    assert run.results["checks"]["data_from_python"] == ["source", "target"]
    assert "data_from_python" not in trained[3].results["checks"]
    page = (run.path / "report.html").read_text()
    assert "in Python, with the same data" in page and "source=SOURCE" in page
    code, shown, told = in_process(capsys, "show", run.path)
    assert code == 0 and json.loads(shown) == recipe
    assert "the source and the target of this recipe came from Python" in " ".join(told.split())
    code, _, told = in_process(capsys, "train", run.path / "recipe.json", "--out", tmp_path / "again")
    told = " ".join(told.split())
    assert code == 2 and "the source and the target of this recipe came from Python" in told
    assert "domtrans.train(source=DATA, target=DATA)" in told and not (tmp_path / "again").exists()


def test_a_loaded_run_works_without_the_data(trained):
    _, arrays, run, files = trained
    loaded = domtrans.load(run.path, device="cpu")
    batch = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(loaded.transfer(batch), run.transfer(batch))
    with pytest.raises(DomtransError, match=r"source and the target .* came from Python.*evaluate\(source=DATA, target=DATA\)"):
        loaded.evaluate()
    with pytest.raises(DomtransError, match=r"the target of this recipe came .*evaluate\(target=DATA\)"):
        loaded.evaluate(source=arrays["source"])
    again = loaded.evaluate(**arrays)
    assert again["accuracy"] == files.results["accuracy"] == run.evaluate()["accuracy"] and again["n"] == 4
    other = bars(12, seed=9)
    assert domtrans.evaluate(loaded, source=other, target=arrays["target"])["n"] == 12
    assert domtrans.evaluate(files, source={"train": other, "test": other})["n"] == 12
    assert files.evaluate({"source": other})["n"] == 12
    assert files.evaluate({"metrics": {}}, source=other).keys() == {"source", "target", "supervision"}
    assert run.evaluate(source=other)["n"] == 12  # the target is still there
    assert run.encoder is run.model.encoder and run.generator is run.model.generator


def test_a_run_resumes_on_the_same_data_only(trained, tmp_path):
    recipe, arrays, whole, _ = trained
    stop = threading.Event()
    with pytest.raises(Stopped):
        go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(2, stop),), **arrays)
    with pytest.raises(DomtransError, match=r"domtrans.train\(source=DATA, target=DATA\)"):
        domtrans.train(str(tmp_path / "cut"), tmp_path / "cut", device="cpu", resume=True)
    other = arrays | {"source": bars(64, seed=0)}
    with pytest.raises(DomtransError, match=r"source.fingerprint: .*28 training .* -> 56 training.*--allow-changes data"):
        go(recipe, tmp_path / "cut", resume=True, **other)
    with pytest.raises(DomtransError, match=r"source.fingerprint"):
        go(recipe, whole.path, **other)  # a finished run is not taken for one on other data
    assert unlike(whole, go(str(tmp_path / "cut"), tmp_path / "cut", resume=True, **arrays)) == []


def test_other_data_from_python_can_be_accepted(trained, tmp_path):
    recipe, arrays, _, _ = trained
    stop = threading.Event()
    with pytest.raises(Stopped):
        go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(2, stop),), **arrays)
    run = go(recipe, tmp_path / "cut", resume=True, allow_changes=["data"], **arrays | {"source": bars(64, seed=0)})
    assert run.results["checks"]["changed"] == [
        "from step 2: source train: 28 -> 56 images",
        "from step 2: source test: 4 -> 8 images",
    ]


def test_overrides_take_data_too_and_parts_are_domains(trained, tmp_path):
    recipe, arrays, run, _ = trained
    again = go(recipe, tmp_path / "again", overrides={"train": {"steps": 2}, **arrays})
    assert again.recipe.source == run.recipe.source and again.recipe.train.steps == 2
    assert again.recipe.train.batch_size == recipe.train.batch_size
    named = go(recipe, tmp_path / "named", source=recipe.source, overrides={"train.steps": 1, "metrics": None})
    assert named.recipe.source == recipe.source
    with pytest.raises(DomtransError, match="the source is given twice"):
        go(recipe, tmp_path / "twice", source=arrays["source"], overrides={"source": arrays["source"]})
    with pytest.raises(DomtransError, match=r"'encoder' cannot be ndarray: .*pass data from Python as train\(..., source=X"):
        go(recipe, tmp_path / "twice", overrides={"encoder": arrays["source"][0]})
