"""Checkpoints: the newest valid one is loaded, unfinished files are removed, a full disk or a second process does no harm."""

import logging
import os
import random
import shutil
import signal
import subprocess
import threading

import pytest
import torch

from domtrans import DomtransError, Stopped, load, override
from domtrans.runs.folder import RunFolder
from domtrans.storage.atomic import UNFINISHED_PREFIX, write_bytes
from domtrans.storage.tensors import read_tensors
from paths import HELPERS
from processes import run as python
from tiny import registry, tiny_recipe
from tiny_runs import go, losses, metrics, unlike


def longer(recipe, steps):
    return override(recipe, {"train.steps": steps}, registry())


def test_as_many_earlier_states_are_kept_as_the_recipe_says(tmp_path):
    run = go(tiny_recipe(tmp_path, train__steps=8, train__save_every=2, train__keep=3), tmp_path / "run")
    assert [path.name for path in sorted((run.path / "earlier").iterdir())] == [
        "step-00000004.safetensors",
        "step-00000006.safetensors",
    ]
    assert read_tensors(run.path / "earlier" / "step-00000006.safetensors")[0]["step"] == 6
    alone = go(tiny_recipe(tmp_path, train__steps=4, train__save_every=2, train__keep=1), tmp_path / "alone")
    assert not (alone.path / "earlier").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_newest_state_is_replaced_by_the_one_before(tmp_path, caplog, damage):
    recipe = tiny_recipe(tmp_path, train__steps=6, train__save_every=2)
    whole = go(longer(recipe, 8), tmp_path / "whole")
    go(recipe, tmp_path / "run")
    file = tmp_path / "run" / "training.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[-100] ^= 1
    file.unlink()  # a link to the file may be under earlier/
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        resumed = go(longer(recipe, 8), tmp_path / "run", resume=True)
    assert "continuing from the checkpoint before it, step 4" in caplog.text
    assert unlike(whole, resumed) == []
    assert [line["step"] for line in metrics(resumed.path)] == list(range(1, 9))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("kept", ["model.safetensors", "results.json"])
def test_a_trained_run_without_its_state_is_refused_and_not_touched(tmp_path, kept, resume):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    run = go(recipe, tmp_path / "run").path
    for name in {"training.safetensors", "model.safetensors", "results.json"} - {kept}:
        (run / name).unlink()
    before = contents(run)
    with pytest.raises(DomtransError, match=rf"has a {kept} but no training\.safetensors, .* restore .* with --out"):
        go(longer(recipe, 4) if resume else recipe, run, resume=resume)
    assert contents(run) == before


def test_a_finished_run_without_its_state_stays_finished(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    run = go(recipe, tmp_path / "run")
    (run.path / "training.safetensors").unlink()
    assert go(recipe, run.path, resume=True).results == run.results


def test_a_model_that_was_removed_is_written_again_from_the_state(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    whole, run = go(recipe, tmp_path / "whole"), go(recipe, tmp_path / "run").path
    (run / "model.safetensors").unlink()
    with pytest.raises(DomtransError, match=r"has no model; continue it with `domtrans train .* --resume`"):
        load(run)
    assert unlike(whole, go(recipe, run, resume=True)) == []
    for name in ("model.safetensors", "training.safetensors"):
        (run / name).unlink()
    with pytest.raises(DomtransError, match=r"has lost its model\.safetensors; restore it from a copy"):
        load(run)


def test_a_run_that_ended_before_its_first_save_starts_anew_on_request_to_resume(tmp_path):
    recipe = tiny_recipe(tmp_path, train__validate_every=1)

    def crash(progress):
        if progress.phase == "train" and progress.step == 2:
            raise MemoryError

    with pytest.raises(MemoryError):
        go(recipe, tmp_path / "run", listeners=(crash,))
    assert (tmp_path / "run" / "best.safetensors").is_file()
    resumed = go(recipe, tmp_path / "run", resume=True)
    assert unlike(go(recipe, tmp_path / "whole"), resumed) == []


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path):
    run = go(tiny_recipe(tmp_path), tmp_path / "run")
    leftovers = [run.path / f"{UNFINISHED_PREFIX}abc", run.path / "samples" / f"{UNFINISHED_PREFIX}def"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    go(tiny_recipe(tmp_path), tmp_path / "run")
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_second_training_in_a_folder_is_refused_and_the_first_continues(tmp_path):
    recipe = tiny_recipe(tmp_path)
    refusals = []

    def try_as_well(progress):
        if progress.phase == "train" and progress.step == 2:
            with pytest.raises(DomtransError, match="another process is training in") as refusal:
                go(recipe, tmp_path / "run")
            refusals.append(refusal)

    assert go(recipe, tmp_path / "run", listeners=(try_as_well,)).results["steps"] == 4
    assert len(refusals) == 1


CHILD = """
import os, signal, sys
from tiny import registry
import domtrans

file, out, phase, calls = sys.argv[1:]

def kill_after_calls(progress):
    if progress.phase == phase and progress.step and sys.getprofile() is None:
        left = iter(range(int(calls)))
        sys.setprofile(lambda *_: next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL))

domtrans.train(domtrans.find_recipe(file, registry()), out, device="cpu", registry=registry(), listeners=(kill_after_calls,))
"""


def test_a_run_killed_several_times_ends_like_one_that_was_not(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=20, train__save_every=1, train__sample_every=5)
    whole = go(recipe, tmp_path / "whole")
    file = tmp_path / "recipe.json"
    file.write_text(recipe.to_json())
    # its own cache, so that the fit of f is interrupted too
    os.environ["DOMTRANS_CACHE"], cache = str(tmp_path / "own-cache"), os.environ["DOMTRANS_CACHE"]
    try:
        for phase, most_calls in (("fit", 1000), ("train", 50_000), ("train", 500_000), ("evaluate", 50_000)):
            calls = random.randrange(most_calls)
            done = python("-c", CHILD, file, tmp_path / "run", phase, calls, cwd=HELPERS)
            assert done.returncode == -signal.SIGKILL, (phase, calls, done.stderr)
        resumed = go(recipe, tmp_path / "run")
    finally:
        os.environ["DOMTRANS_CACHE"] = cache
    assert unlike(whole, resumed) == []
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(resumed.path)]
    assert resumed.results["accuracy"] == whole.results["accuracy"]


def test_a_run_stopped_twice_at_random_ends_like_one_that_was_not(tmp_path):
    for seed in (1, 2):
        recipe = tiny_recipe(tmp_path, train__steps=9, train__save_every=3, seed=seed)
        whole = go(recipe, tmp_path / f"whole{seed}")
        for step in sorted(random.sample(range(1, 9), 2)):
            stop = threading.Event()

            def listen(progress, step=step, stop=stop):
                if progress.phase == "train" and progress.step == step:
                    stop.set()

            with pytest.raises(Stopped):
                go(recipe, tmp_path / f"cut{seed}", stop=stop, listeners=(listen,))
        assert unlike(whole, go(recipe, tmp_path / f"cut{seed}")) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB; only root can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_stops_the_run_with_its_last_checkpoint_intact(tmp_path, small_disk):
    folder = RunFolder(small_disk)
    folder.save_training({"step": torch.tensor(1), "weights": torch.ones(50_000)}, keep=2)
    write_bytes(small_disk / "other", bytes(600_000))
    with pytest.raises(DomtransError, match="cannot be written: No space left on device; its previous content is unchanged"):
        folder.save_training({"step": torch.tensor(2), "weights": torch.ones(200_000)}, keep=2)
    state = folder.load_training()
    assert state is not None and state["step"] == 1 and state["weights"].sum() == 50_000
    assert not list(small_disk.glob(f"{UNFINISHED_PREFIX}*"))
