"""``train``: a run that is stopped, killed or extended resumes exactly, and its folder is complete."""

import json
import os
import random
import threading
from pathlib import Path

import pytest
import torch

import domtrans
from domtrans import DomtransError, Stopped, override
from domtrans.runs.folder import RunFolder
from domtrans.storage.atomic import UNFINISHED_PREFIX
from domtrans.storage.tensors import read_tensors, write_tensors
from tiny import bars, registry, tiny_recipe
from tiny_runs import TENSOR_FILES, go, losses, metrics, stop_at, unlike

# Resuming


@pytest.mark.parametrize("optimizer", ["adam", "sgd", {"name": "torch", "algorithm": "NAdam"}])
@pytest.mark.parametrize("at", [0, 1])
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path, optimizer, at):
    recipe = tiny_recipe(
        tmp_path,
        "digits-dtn",
        train__steps=8,
        train__sample_every=2,
        train__generator_optimizer=optimizer,
        train__balance_source=True,
        source_augmentation="warp",
    )
    whole = go(recipe, tmp_path / "whole")
    step, stop = random.randrange(2 + at, 8, 2), threading.Event()
    with pytest.raises(Stopped, match=f"stopped at step {step} of 8; everything is saved in"):
        go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(step, stop),))
    assert read_tensors(tmp_path / "cut" / "training.safetensors")[0]["step"] == step
    resumed = go(recipe, tmp_path / "cut", resume=True)
    assert unlike(whole, resumed) == []
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(resumed.path)]
    assert [line["step"] for line in metrics(resumed.path)] == list(range(1, 9))
    grids = [{path.name: path.read_bytes() for path in (run.path / "samples").iterdir()} for run in (whole, resumed)]
    assert grids[0] == grids[1] and sorted(grids[0]) == [f"step-{step:06d}.png" for step in (2, 4, 6, 8)]
    assert resumed.results["accuracy"] == whole.results["accuracy"]


def test_a_crash_loses_only_the_steps_since_the_last_save(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=6, train__save_every=2)
    whole = go(recipe, tmp_path / "whole")

    def crash(progress):
        if progress.phase == "train" and progress.step == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        go(recipe, tmp_path / "cut", listeners=(crash,))
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "cut sho')
    assert unlike(whole, go(recipe, tmp_path / "cut")) == []
    assert [line["step"] for line in metrics(tmp_path / "cut")] == list(range(1, 7))


def test_a_finished_run_is_not_trained_again_and_can_be_extended(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    first = go(recipe, tmp_path / "run")
    heard = []
    go(recipe, tmp_path / "run", listeners=(heard.append,))
    (said,) = [progress for progress in heard if progress.phase == "train"]
    assert "this run is finished, so nothing was trained" in said.note
    longer = override(recipe, ["train.steps=4"], registry())
    with pytest.raises(DomtransError, match=r"another recipe \(train.steps: 2 -> 4\)"):
        go(longer, tmp_path / "run")
    assert go(longer, tmp_path / "run", resume=True).results["steps"] == 4 and first.results["steps"] == 2
    with pytest.raises(DomtransError, match="seed: 0 -> 1"):
        go(override(longer, ["seed=1"], registry()), tmp_path / "run", resume=True)


def test_a_failed_start_does_not_block_the_fixed_recipe(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    with pytest.raises(DomtransError, match="there is no file"):
        go(override(recipe, {"source.path": str(tmp_path / "nowhere.npz")}, registry()), tmp_path / "run")
    assert go(recipe, tmp_path / "run").results["steps"] == 2


def test_the_same_seed_gives_the_same_run(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    first = go(recipe, tmp_path / "a")
    torch.manual_seed(123)  # what the caller did with torch's own generator does not matter
    before = torch.get_rng_state()
    assert unlike(first, go(recipe, tmp_path / "b")) == []
    assert torch.equal(torch.get_rng_state(), before)
    other = unlike(first, go(override(recipe, ["seed=1"], registry()), tmp_path / "c"))
    assert any(key.startswith("model.safetensors:generator.") for key in other)
    assert any(key.startswith("model.safetensors:encoder.") for key in other)


def test_f_is_measured_by_the_classes_that_it_learned(tmp_path):
    class Reversed:
        @domtrans.hookimpl
        def register(self, registry):
            @registry.domain("reversed")
            def reversed_test_split(split: str, size: int) -> domtrans.ImageSet:
                """Bars whose test images have their classes in another order."""
                images, labels = bars(32)
                names = ("0", "1", "2", "3")
                if split == "train":
                    return domtrans.ImageSet.from_arrays(images, labels, size=size, classes=names)
                return domtrans.ImageSet.from_arrays(images, 3 - labels, size=size, classes=names[::-1])

    extended = domtrans.load_plugins(Reversed()).registry
    recipe = override(tiny_recipe(tmp_path, fit__steps=20, train__steps=1), {"source": {"name": "reversed"}}, extended)
    run = domtrans.train(recipe, tmp_path / "run", device="cpu", registry=extended)
    assert run.results["encoder_accuracy"] == run.evaluate()["encoder_accuracy"] > 0.5


@pytest.mark.parametrize("save_every", [1, 100])
def test_a_run_that_diverges_ends_with_the_last_save_intact(tmp_path, save_every):
    recipe = tiny_recipe(
        tmp_path,
        train__steps=6,
        train__log_every=6,
        train__save_every=save_every,
        train__generator_optimizer={"name": "sgd", "lr": 1e30},
    )
    with pytest.raises(DomtransError, match=r"diverged at step.*is not a finite number; the last save in"):
        go(recipe, tmp_path / "run")
    for file in TENSOR_FILES:
        if (tmp_path / "run" / file).is_file():
            assert all(torch.isfinite(value).all() for value in read_tensors(tmp_path / "run" / file)[0].values())


def test_a_damaged_training_state_is_refused_and_kept(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    go(recipe, tmp_path / "run")
    longer = override(recipe, ["train.steps=4"], registry())
    file = tmp_path / "run" / "training.safetensors"
    whole = file.read_bytes()
    state, about = read_tensors(file)
    state = {name: value.clone() for name, value in state.items()}  # what was read is a view of the file
    for content, message in [(whole[: len(whole) // 2], "not a complete safetensors file"), (b"", "not a complete")]:
        file.write_bytes(content)
        with pytest.raises(DomtransError, match=message):
            go(longer, tmp_path / "run", resume=True)
        assert file.read_bytes() == content
    for broken in ({"step": state["step"]}, state | {"generator_optimizer.0.exp_avg": torch.zeros(3)}):
        write_tensors(file, broken, about)
        with pytest.raises(DomtransError, match="does not fit"):
            go(longer, tmp_path / "run", resume=True)
    write_tensors(file, state, {})
    with pytest.raises(DomtransError, match="not written by this version"):
        go(longer, tmp_path / "run", resume=True)


# The run folder


def test_a_run_folder_is_complete(tmp_path):
    recipe = tiny_recipe(tmp_path, train__sample_every=2)
    run = go(recipe, tmp_path / "deep" / "run")
    assert sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")) == [
        "data.json", "examples.safetensors", "metrics.jsonl", "model.safetensors", "recipe.json", "report.html", "results.json",
        "samples", "training.safetensors",
    ]  # fmt: skip
    assert domtrans.find_recipe(str(run.path), registry()) == recipe
    first = metrics(run.path)[0]
    assert {"step", "seconds", "images_per_second", "generator.gan", "generator.const", "discriminator.gan"} <= set(first)
    assert json.loads((run.path / "results.json").read_text()) == dict(run.results)


def test_the_default_folder_is_named_after_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = go(tiny_recipe(tmp_path, train__steps=1, name="mine"), None)
    assert run.path == Path("runs/mine")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks /proc which file is waited for")
def test_the_log_is_on_disk_before_the_next_save(tmp_path, monkeypatch):
    folder, waited_for, fsync = RunFolder(tmp_path), [], os.fsync

    def watched(handle):
        waited_for.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    folder.log({"step": 1, "seconds": 0.5})
    assert waited_for == []  # a line alone is not worth the wait
    folder.save_training({"step": torch.tensor(1)})
    log, save, _ = waited_for
    assert log == str(folder.metrics_file) and UNFINISHED_PREFIX in save


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_not_a_run_is_not_touched(tmp_path, resume):
    out = tmp_path / "photos"
    out.mkdir()
    (out / "me.jpg").write_text("")
    with pytest.raises(DomtransError, match="exists and is not a run"):
        go(tiny_recipe(tmp_path), out, resume=resume)
    assert [path.name for path in out.iterdir()] == ["me.jpg"]
    with pytest.raises(DomtransError, match=r"no run in .* to resume"):
        go(tiny_recipe(tmp_path), tmp_path / "nowhere", resume=True)


def test_progress_is_reported_in_phases_that_finish(tmp_path, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    heard = []
    go(tiny_recipe(tmp_path, fit__steps=20), tmp_path / "run", listeners=(heard.append,))
    last = {progress.phase: progress for progress in heard}
    assert list(last) == ["data", "fit", "encode", "train", "evaluate"]
    assert all(progress.step == progress.steps for progress in last.values())


def test_encoding_counts_images_wherever_it_happens(tmp_path):
    heard = []
    recipe = tiny_recipe(tmp_path, source_augmentation="warp", train__balance_source=True, train__steps=1)
    go(recipe, tmp_path / "run", listeners=(heard.append,))
    assert {progress.steps for progress in heard if progress.phase == "encode"} == {12}  # of 16, 4 are held out


@pytest.mark.parametrize("phase", ["data", "fit", "encode", "train", "evaluate"])
def test_a_stop_in_any_phase_loses_nothing(tmp_path, phase):
    recipe, stop = tiny_recipe(tmp_path), threading.Event()
    with pytest.raises(Stopped):
        go(recipe, tmp_path / "run", stop=stop, listeners=(lambda progress: stop.set() if progress.phase == phase else None,))
    assert go(recipe, tmp_path / "run").results["steps"] == 4
    assert unlike(tmp_path / "run", go(recipe, tmp_path / "whole")) == []
    assert (tmp_path / "run" / "samples" / "step-000004.png").is_file()


def test_times_add_up_when_a_run_resumes(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.seconds() == 0 and folder.metrics() == []
    for step in (1, 2, 3):
        folder.log({"step": step, "seconds": 1.5 * step})
    folder.rewind(2)
    assert folder.seconds() == 3.0 and len(folder.metrics()) == 2
