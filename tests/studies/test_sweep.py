"""A sweep proposes, trains and ranks trials; it can be stopped, continued and shared, and never sees a test image."""

import json
import shlex
import threading

import pytest
from PIL import Image

import tiny_parts
from commands import in_process
from domtrans import DomtransError, Stopped, find_recipe, load_plugins, override, sweep
from domtrans.runs.folder import RunFolder
from domtrans.studies.sweep import Sweep
from domtrans.training import loop
from tiny import registry, tiny_recipe

pytest.importorskip("optuna")
GAINS = "generator.gain=5,4,3,2,1,6"


class Score:
    """Instead of the label-free score: a tenth of an option of g, so that a test knows which trials are good."""

    failing = ()

    def __init__(self, *_):
        pass

    def score(self, transfer):
        if transfer.generator.gain in self.failing:
            raise DomtransError("no such luck")
        return {"validation.score": transfer.generator.gain / 10}


@pytest.fixture
def parts(monkeypatch):
    """Parts and a recipe with which a trial takes milliseconds."""
    monkeypatch.setattr(loop, "LabelFreeScore", Score)
    parts = load_plugins(tiny_parts.Plugin()).registry
    return parts, override(tiny_parts.recipe(), {"train.steps": 3, "train.log_every": 1, "train.validate_every": 1}, parts)


def search(parts, changes, out, **options):
    parts, recipe = parts
    return sweep(recipe, changes, out, registry=parts, device="cpu", **options)


def test_trials_are_ranked_and_bad_ones_are_stopped_early(parts, tmp_path):
    data = search(parts, [GAINS, "train.batch_size=3"], tmp_path / "sweep")
    assert [(row["trial"], row["value"], row["state"], row["steps"]) for row in data["trials"]] == [
        (5, 0.6, "done", 3),
        *((number, value, "done", 3) for number, value in enumerate((0.5, 0.4, 0.3, 0.2))),
        (4, None, "stopped early", 1),  # worse than the median of those before, at the first score
    ]
    assert shlex.split(data["command"]) == ["domtrans", "train", "tiny", "train.batch_size=3", "generator.gain=6"]
    page = (tmp_path / "sweep" / "table.md").read_text()
    assert "| 5 | 0.6 | done | 3 | 6 |" in page and data["command"] in page
    assert json.loads((tmp_path / "sweep" / "table.json").read_text()) == data
    with Image.open(tmp_path / "sweep" / "trials.png") as image:
        assert image.size[0] > 500
    run = RunFolder(tmp_path / "sweep" / "trial-005")
    assert run.recipe().train.batch_size == 3 and run.metrics()[-1]["validation.score"] == 0.6
    assert search(parts, [GAINS, "train.batch_size=3"], tmp_path / "sweep") == data  # all combinations are done
    everything = Sweep(parts[1], [GAINS], tmp_path / "all", early_stop=False, registry=parts[0])
    assert type(everything.study.pruner).__name__ == "NopPruner"


def test_a_stopped_sweep_continues_with_the_trial_that_was_stopped(parts, tmp_path):
    changes = ["train.generator_optimizer.lr=log(1e-5,1e-2)", "generator_losses.pull.power=range(1,4)"]
    whole = search(parts, changes, tmp_path / "whole", trials=3, by="generator.pull")
    stop = threading.Event()

    def stop_in_second_trial(progress):
        if progress.phase == "train" and progress.step == 2 and (tmp_path / "cut" / "trial-001").exists():
            stop.set()

    with pytest.raises(Stopped, match="at step 2 of 3"):
        search(parts, changes, tmp_path / "cut", trials=3, by="generator.pull", listeners=stop_in_second_trial, stop=stop)
    assert not (tmp_path / "cut" / "trial-002").exists()
    assert search(parts, changes, tmp_path / "cut", trials=3, by="generator.pull") == whole
    values = [row["value"] for row in whole["trials"]]
    assert values == sorted(values) and whole["direction"] == "lowest"  # a loss
    rates = {row["changes"]["train.generator_optimizer.lr"] for row in whole["trials"]}
    assert len(rates) == 3 and all(1e-5 <= rate <= 1e-2 for rate in rates)


def test_processes_share_a_sweep_and_a_killed_one_leaves_its_trial_to_the_others(parts, tmp_path):
    words = (parts[1], [GAINS], tmp_path / "sweep")
    first, second = (Sweep(*words, trials=2, registry=parts[0], device="cpu") for _ in range(2))
    with first.next_trial() as one, second.next_trial() as other:
        assert (one.number, other.number) == (0, 1) and one.params != other.params
        with second.next_trial() as none:
            assert none is None
    with second.next_trial() as again:  # the first did not tell its result, like a process that was killed
        assert again.number == 0 and again.params == one.params
        second.run(again)
    assert second.count("COMPLETE") == 1 and second.count("RUNNING") == 1


def test_a_trial_that_fails_does_not_stop_the_others_but_the_first_one_does(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(Score, "failing", (4,))
    data = search(parts, ["generator.gain=5,4,3"], tmp_path / "sweep")
    assert [(row["state"], row["error"]) for row in data["trials"]] == [("done", ""), ("done", ""), ("failed", "no such luck")]
    assert "Trial 1 failed: no such luck." in (tmp_path / "sweep" / "table.md").read_text()
    with pytest.raises(DomtransError, match="no such luck"):
        search(parts, ["generator.gain=4,3"], tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "options", "wanted"),
    [
        (["train.batch_size=4,8"], {"by": "accuracy"}, r"'accuracy' is measured on test images.*search by validation.score"),
        (["train.batch_size=4,8"], {"by": "digits"}, r"measured on test images"),
        (
            ["train.batch_size=4,8"],
            {"by": "generator.cons"},
            r"no value 'generator.cons'.*it has validation.score.*generator.const",
        ),
        (["train.batch_size=4,8"], {"trials": 0}, "at least one trial"),
        (["train.batch_sice=4,8"], {}, r"no option 'train.batch_sice'"),
        (["train.batch_size=4,many"], {}, "train.batch_size"),
        (["generator_losses.const.weight=range(-1,1)"], {}, "weight"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_computed(tmp_path, changes, options, wanted):
    with pytest.raises(DomtransError, match=wanted):
        sweep("digits-dtn", changes, tmp_path / "sweep", registry=registry(), **options)
    assert not (tmp_path / "sweep").exists()


def test_a_folder_of_something_else_is_refused(parts, tmp_path):
    search(parts, ["generator.gain=5,4"], tmp_path / "sweep")
    with pytest.raises(DomtransError, match="holds another sweep") as refusal:
        search(parts, ["generator.gain=5,3"], tmp_path / "sweep")
    assert "(space: ['generator.gain=5,4'] -> ['generator.gain=5,3'])" in str(refusal.value)
    with pytest.raises(DomtransError, match=r"\(recipe\.seed: \d+ -> 77\); choose another folder with --out"):
        search(parts, ["generator.gain=5,4", "seed=77"], tmp_path / "sweep")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("Dear")
    with pytest.raises(DomtransError, match="exists and is not a sweep"):
        search(parts, ["generator.gain=5,4"], tmp_path / "full")


def test_the_command(tmp_path, capsys):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    words = ["sweep", tmp_path / "recipe.json", "generator_losses.const.weight=5,20", "--out", tmp_path / "sweep"]
    code, output, errors = in_process(capsys, *words, "--device", "cpu")
    assert code == 0, errors
    assert "trial 1: generator_losses.const.weight=20" in errors and "trial 1: validation.score 0" in errors
    assert "validation.score  state" in output and f"written to {tmp_path / 'sweep' / 'table.md'}" in output
    run = RunFolder(tmp_path / "sweep" / "trial-000")
    assert "accuracy" not in json.dumps(run.results()) and run.recipe().metrics == {}
    command = shlex.split(next(line for line in output.splitlines() if line.startswith("train and measure")).partition(": ")[2])
    best = override(find_recipe(command[2], registry()), command[3:], registry())
    assert best.metrics == recipe.metrics and best.generator_losses["const"].weight in (5, 20)
    code, output, errors = in_process(capsys, *words, "--json")
    assert code == 0 and errors == "" and len(json.loads(output)["trials"]) == 2
