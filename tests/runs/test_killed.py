"""A run that is killed at any moment, also during a save, ends like one that was not."""

import os
import random
import signal
from contextlib import suppress

import torch

from cliffs import cliff_recipe
from domtrans import train
from domtrans.storage.atomic import UNFINISHED_PREFIX
from domtrans.storage.tensors import read_tensors
from tiny import registry, tiny_recipe
from tiny_runs import losses, metrics, unlike

ALL = {"train__steps": 8, "train__save_every": 3, "train__validate_every": 2, "train__sample_every": 4}


def killed(work, write):
    """Work in a process that is killed at its ``write``-th call of fsync; returns the number of calls if it was not.

    Every file that has to last is synced once before it takes its name and its folder once after, so that every half of a
    save is met: f's fit and adaptation, training state, model, best model, sample, log and results.
    """
    process = os.fork()
    if process:
        status = os.waitpid(process, 0)[1]
        return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
    calls, sync = 0, os.fsync

    def sync_or_die(handle):
        nonlocal calls
        calls += 1
        if calls == write:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(handle)

    os.fsync = sync_or_die
    with suppress(BaseException):
        work()
        os._exit(calls)
    os._exit(255)


def check(recipe, parts, folder, monkeypatch):
    """Kill a run several times, at random moments of its first half, and compare it with one that was not killed."""
    monkeypatch.setenv("DOMTRANS_CACHE", str(folder / "cache of the complete run"))
    whole = train(recipe, folder / "whole", device="cpu", registry=parts)
    writes = killed(lambda: train(recipe, folder / "counted", device="cpu", registry=parts), 0)
    assert 20 < writes < 255
    monkeypatch.setenv("DOMTRANS_CACHE", str(folder / "cache of the killed run"))  # so that the fit of f is interrupted too
    moments = [random.randrange(1, writes // 2) for _ in range(4)]
    ends = [killed(lambda: train(recipe, folder / "cut", device="cpu", registry=parts), moment) for moment in moments]
    cut = train(recipe, folder / "cut", device="cpu", registry=parts)
    assert ends[:2] == [None, None], f"killed at {moments} of {writes} writes"
    assert unlike(whole, cut) == [], f"killed at {moments} of {writes} writes"
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(cut.path)]
    timeless = [
        {k: v for k, v in run.results.items() if k not in ("seconds", "images_per_second", "run")} for run in (whole, cut)
    ]
    assert timeless[0] == timeless[1]
    assert not list(cut.path.rglob(f"{UNFINISHED_PREFIX}*"))
    return whole, cut


def test_a_run_killed_during_any_save(tmp_path, monkeypatch):
    recipe = tiny_recipe(tmp_path, adapt="self-training", adapt__steps=2, adapt__batch_size=4, **ALL)
    runs = check(recipe, registry(), tmp_path, monkeypatch)
    one, other = (read_tensors(run.path / "best.safetensors")[0] for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one | other)


def test_a_run_killed_around_a_rollback(tmp_path, monkeypatch, cliffs):
    whole, _ = check(cliff_recipe(tmp_path, cliffs, train__validate_every=4), cliffs, tmp_path, monkeypatch)
    assert "rollback-1" in whole.results["health"]


def test_a_run_killed_at_every_write_of_its_end(tmp_path):
    """The last save and what follows: no later save would repair it."""
    recipe = tiny_recipe(tmp_path, train__steps=1)
    whole = train(recipe, tmp_path / "whole", device="cpu", registry=registry())
    writes = killed(lambda: train(recipe, tmp_path / "counted", device="cpu", registry=registry()), 0)
    for write in range(1, writes + 1, 2):  # before each rename, so also between two files
        out = tmp_path / f"cut{write}"
        assert killed(lambda out=out: train(recipe, out, device="cpu", registry=registry()), write) is None
        cut = train(recipe, out, device="cpu", registry=registry())
        assert unlike(whole, cut) == [] and cut.about["step"] == 1, f"killed at write {write} of {writes}"
