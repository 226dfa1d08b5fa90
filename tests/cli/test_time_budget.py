"""``domtrans train --time``: steps that fit, set once."""

import json

import pytest

from commands import SMALL, in_process
from domtrans import DomtransError
from domtrans.benchmark.time_budget import SHARE_OF_STEPS, steps_left


def test_the_steps_are_what_the_preparation_leaves():
    assert steps_left(1800, 300, 0.5) == int(SHARE_OF_STEPS * 3000)
    with pytest.raises(DomtransError, match="the preparation took 90 of 60 seconds, so no step fits"):
        steps_left(60, 90, 0.5)


def test_the_number_is_recorded_and_kept(data, tmp_path, monkeypatch, capsys):
    counts = iter([3, 99])
    monkeypatch.setattr("domtrans.benchmark.time_budget.steps_within", lambda *_, **__: next(counts))
    small = [change for change in SMALL if not change.startswith("train.steps=")]
    command = ("train", "digits-dtn-paper", *data, *small, "--time", "1h", "--out", tmp_path / "run")
    code, _, err = in_process(capsys, *command)
    assert code == 0 and "3 steps fit into 1h" in err
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["train"]["steps"] == 3
    assert in_process(capsys, *command)[0] == 0, "the same command finds the run finished"


def test_it_is_measured_on_the_recipe(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("domtrans.benchmark.time_budget.MAX_STEPS", 2)
    monkeypatch.setattr("domtrans.benchmark.time_budget.steps_left", lambda seconds, spent, step: 1 if step > 0 else 0)
    small = [change for change in SMALL if not change.startswith("train.steps=")]
    code, _, err = in_process(capsys, "train", "digits-dtn-paper", *data, *small, "--time", "1h", "--out", tmp_path / "run")
    assert code == 0 and "1 steps fit into 1h" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [(["train.steps=5", "--time", "1h"], "--time sets train.steps"), (["--time", "soon"], "'soon' is not a duration")],
)
def test_what_cannot_be_is_refused(words, message, data, tmp_path, capsys):
    code, _, err = in_process(capsys, "train", "digits-dtn-paper", *data, *words, "--out", tmp_path / "run")
    assert code == 2 and message in err and not (tmp_path / "run").exists()
