"""Rollbacks: how far a diverging training goes back, and that a stop changes nothing."""

import threading
from contextlib import suppress

import pytest

from domtrans import DomtransError, Session, Stopped
from domtrans.runs.folder import RunFolder
from domtrans.training import experiment
from domtrans.training.loop import Loop
from domtrans.training.trainer import Trainer
from tiny import registry, tiny_recipe
from tiny_runs import losses, metrics, unlike

EVERY = {"train__steps": 10, "train__save_every": 2, "train__rollbacks": 3, "train__sample_every": 100}


def go(recipe, out, stop=None):
    """Train a recipe in a folder, without measuring it."""
    session = Session.start("cpu", precision="float32", stop=stop)
    folder = RunFolder(out)
    with folder.open(recipe, registry(), resume=False):
        trainer = Trainer(experiment.prepare(recipe, registry(), session), session.during("train"))
        Loop(trainer, folder, recipe, trainer.source.some(4), {}).run()
    return folder


@pytest.fixture
def diverges(monkeypatch):
    """Sets how often a training diverges at step 7, and after which of all its steps it is stopped."""
    plan = {"times": 0, "stop": threading.Event(), "stop_at": (), "taken": 0}
    step = Trainer.step

    def step_off(trainer):
        found = step(trainer)
        plan["taken"] += 1
        if plan["taken"] in plan["stop_at"]:
            plan["stop"].set()
        if trainer.step_number == 7 and trainer.rollbacks < plan["times"]:
            found["generator.gan"] = found["generator.gan"] * float("nan")
        return found

    monkeypatch.setattr(Trainer, "step", step_off)
    return plan


def went_back_to(folder):
    """The steps to which a run went back, from its log."""
    alarms = [alarm for line in metrics(folder) for alarm in line.get("alarms", {}).items()]
    said = {name: sentence for name, sentence in alarms if name.startswith("rollback-")}
    return [int(said[name].partition("going on from step ")[2].split()[0]) for name in sorted(said)]


@pytest.mark.parametrize(
    ("times", "keep", "steps"),
    [(3, 3, [6, 4, 2]), (3, 2, [6, 4, 0]), (2, 1, [6, 0])],
)
def test_every_rollback_goes_further_back_until_training_passes_the_divergence(tmp_path, diverges, times, keep, steps):
    diverges["times"] = times
    run = go(tiny_recipe(tmp_path, **EVERY, train__keep=keep), tmp_path / "run")
    assert went_back_to(run.path) == steps
    assert [line["step"] for line in metrics(run.path) if "generator.gan" in line] == list(range(1, 11))
    state = run.load_training()
    assert state["rollbacks"] == times and state["went_back_to"] == steps[-1]


def test_a_rollback_goes_to_a_checkpoint_that_was_saved_since(tmp_path, diverges, monkeypatch):
    diverges["times"] = 1
    step = Trainer.step

    def diverge_later_too(trainer):
        found = step(trainer)
        if trainer.step_number == 9 and trainer.rollbacks == 1:
            found["generator.gan"] = found["generator.gan"] * float("nan")
        return found

    monkeypatch.setattr(Trainer, "step", diverge_later_too)
    assert went_back_to(go(tiny_recipe(tmp_path, **EVERY), tmp_path / "run").path) == [6, 8]


def test_states_after_a_rollback_are_removed(tmp_path, diverges):
    diverges["times"] = 4
    with pytest.raises(DomtransError, match="after 3 rollbacks"):
        go(tiny_recipe(tmp_path, **EVERY, train__keep=4), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert folder.load_training()["step"] == 6  # reached again from step 2
    assert [path.stem for path in sorted(folder.earlier.iterdir())] == ["step-00000002", "step-00000004"]


@pytest.mark.parametrize(("keep", "stops"), [(1, (5, 7)), (2, (3, 8))])
def test_a_run_stopped_around_rollbacks_ends_like_one_that_was_not(tmp_path, diverges, keep, stops):
    recipe = tiny_recipe(tmp_path, **EVERY, train__keep=keep)
    diverges["times"] = 2
    whole = go(recipe, tmp_path / "whole")
    diverges.update(stop_at=stops, taken=0)
    for _ in stops:
        diverges["stop"].clear()
        with suppress(Stopped):
            go(recipe, tmp_path / "cut", stop=diverges["stop"])
    diverges["stop"].clear()
    cut = go(recipe, tmp_path / "cut")
    assert unlike(whole, cut) == [] and went_back_to(whole.path) == went_back_to(cut.path)
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(cut.path)]
