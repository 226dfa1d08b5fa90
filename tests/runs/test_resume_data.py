"""A run resumes on the data that it was started with."""

import json
import threading

import numpy as np
import pytest

from domtrans import DomtransError, Stopped, override
from domtrans.runs.folder import RunFolder
from tiny import bars, registry, tiny_recipe
from tiny_runs import go, metrics, stop_at, unlike


def started(recipe, out, step=2):
    """A run that was stopped after ``step`` steps."""
    stop = threading.Event()
    with pytest.raises(Stopped):
        go(recipe, out, stop=stop, listeners=(stop_at(step, stop),))
    return out


def write(path, count, **form):
    images, labels = bars(count, **form)
    np.savez(path, images=images, labels=labels)


def test_the_run_folder_describes_the_data_before_a_model_is_saved(tmp_path):
    recipe = tiny_recipe(tmp_path)

    def crash(progress):
        if progress.phase == "train":
            raise MemoryError

    with pytest.raises(MemoryError):
        go(recipe, tmp_path / "run", listeners=(crash,))
    assert not (tmp_path / "run" / "model.safetensors").exists()
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert list(data) == ["source train", "source test", "target train", "target test"]
    assert [one["count"] for one in data.values()] == [12, 4, 12, 4]
    assert data["source train"]["classes"] == ["0", "1", "2", "3"]
    assert len({one["fingerprint"] for one in data.values()}) == 4


def test_other_data_is_refused_with_what_differs(tmp_path):
    run = started(tiny_recipe(tmp_path), tmp_path / "run")
    recipe = RunFolder(run).recipe()
    write(tmp_path / "source.npz", 20, seed=0, classes=3)
    with pytest.raises(DomtransError) as error:
        go(recipe, run, resume=True)
    assert "source train: 12 -> 14 images, classes 0, 1, 2, 3 -> 0, 1, 2; source test: 4 -> 6 images" in str(error.value)
    assert "target" not in str(error.value).partition("restore")[0]
    assert "--resume --allow-changes data" in str(error.value)


@pytest.mark.parametrize("domain", ["source", "target"])
def test_the_same_number_of_other_images_is_refused(tmp_path, domain):
    run = started(tiny_recipe(tmp_path), tmp_path / "run")
    write(tmp_path / f"{domain}.npz", 16, seed=5, channels=3 if domain == "source" else 1)
    with pytest.raises(DomtransError, match=f"{domain} train: other images or labels; {domain} test: other images"):
        go(RunFolder(run).recipe(), run)  # also without resume=True, which continues the run as well


def test_other_labels_of_the_target_are_refused(tmp_path):
    run = started(tiny_recipe(tmp_path), tmp_path / "run")
    images, labels = bars(16, channels=1, seed=1)
    np.savez(tmp_path / "target.npz", images=images, labels=np.roll(labels, 1))
    with pytest.raises(DomtransError, match="target train: other images or labels"):
        go(RunFolder(run).recipe(), run, resume=True)


@pytest.mark.parametrize("form", [["data"], {"data": True}])
def test_other_data_can_be_accepted_and_the_results_say_so(tmp_path, form):
    run = started(tiny_recipe(tmp_path), tmp_path / "run")
    write(tmp_path / "source.npz", 24, seed=0)
    with pytest.raises(DomtransError, match="add --resume"):
        go(RunFolder(run).recipe(), run, allow_changes=form)
    finished = go(RunFolder(run).recipe(), run, resume=True, allow_changes=form)
    assert finished.results["checks"]["changed"] == [
        "from step 2: source train: 12 -> 16 images",
        "from step 2: source test: 4 -> 8 images",
    ]
    assert [line["changed"] for line in metrics(run) if "changed" in line] != []
    assert json.loads((run / "data.json").read_text())["source train"]["count"] == 16
    with pytest.raises(DomtransError, match="is finished"):
        go(finished.recipe, run, resume=True, allow_changes=form)


def test_data_that_moved_can_be_accepted(tmp_path):
    recipe = tiny_recipe(tmp_path)
    run = started(recipe, tmp_path / "run")
    (tmp_path / "source.npz").rename(tmp_path / "moved.npz")
    moved = override(recipe, {"source.path": str(tmp_path / "moved.npz")}, registry())
    with pytest.raises(DomtransError, match=r"source.path: .* -> .*continue on other data: --resume --allow-changes data"):
        go(moved, run, resume=True)
    resumed = go(moved, run, resume=True, allow_changes=["data"])
    (change,) = resumed.results["checks"]["changed"]
    assert change.startswith("from step 2: source.path: ") and change.endswith("moved.npz")
    (tmp_path / "moved.npz").rename(tmp_path / "source.npz")
    assert unlike(resumed, go(recipe, tmp_path / "whole")) == []


def test_finished_runs_and_evaluations_are_not_affected(tmp_path):
    recipe = tiny_recipe(tmp_path)
    run = go(recipe, tmp_path / "run")
    write(tmp_path / "source.npz", 24, seed=0)
    assert go(recipe, tmp_path / "run").results == run.results
    assert run.evaluate()["n"] == 8


def test_runs_without_fingerprints_resume_and_those_of_earlier_versions_are_compared(tmp_path):
    recipe = tiny_recipe(tmp_path)
    run = started(recipe, tmp_path / "run")
    (run / "data.json").unlink()
    write(tmp_path / "target.npz", 24, seed=1, channels=1)
    with pytest.raises(DomtransError, match=r"\(target train: other images or labels\)"):
        go(recipe, run)
    (run / "model.safetensors").unlink()
    assert go(recipe, run, resume=True).results["run"]["steps"] == 4


def test_a_run_that_made_no_step_takes_other_data(tmp_path):
    recipe = tiny_recipe(tmp_path)

    def crash(progress):
        if progress.phase == "train":
            raise MemoryError

    with pytest.raises(MemoryError):
        go(recipe, tmp_path / "run", listeners=(crash,))
    write(tmp_path / "source.npz", 24, seed=0)
    assert "changed" not in go(recipe, tmp_path / "run").results["checks"]


def test_a_damaged_description_is_refused(tmp_path):
    run = started(tiny_recipe(tmp_path), tmp_path / "run")
    (run / "data.json").write_text("{")
    with pytest.raises(DomtransError, match=r"data.json cannot be read: .*restore it from a copy, or remove it"):
        go(RunFolder(run).recipe(), run)
