"""The origin of a model, the best model, ``verify``, deterministic mode, and changes on resuming."""

import json
import random
import subprocess
import threading

import pytest
import torch

import domtrans
from commands import SMALL, in_process
from domtrans import DomtransError, Stopped, load, override, verify
from domtrans.data.image_set import to_channels, to_uint8
from domtrans.evaluation.label_free_score import LabelFreeScore, energy_distance
from domtrans.runs.provenance import git_state, made_by
from domtrans.storage.tensors import read_tensors, write_tensors
from run_results import change_results
from tiny import registry, tiny_recipe, write_bars
from tiny_runs import go, losses, metrics, stop_at, unlike


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return go(tiny_recipe(folder, train__validate_every=1, train__steps=5), folder / "run")


# About


def test_a_model_file_records_its_origin(finished, tmp_path):
    about = finished.about
    assert about["chosen"] == "last step" and about["step"] == 5 and about["seed"] == 0
    assert about["plugins"]["encoder digit-encoder"].startswith("domtrans 0.")
    assert "(plugin 'digits', interface 1)" in about["plugins"]["encoder digit-encoder"]
    assert {"distance mse", "loss ternary-generator", "fit classifier", "domain arrays"} <= about["plugins"].keys()
    train_images = registry().build("domain", finished.recipe.source, "train", 32)
    assert about["data"]["source"] == train_images.fingerprint()
    assert about["computed_on"]["precision"] == "float32" and about["computed_on"]["device"] == "cpu"
    assert about["versions"]["torch"] == torch.__version__ and about["made_by"] == "domtrans.train"


def test_the_command_is_recorded():
    assert made_by(["/usr/bin/domtrans", "train", "a b"]) == "domtrans train 'a b'"
    assert made_by(["/x/domtrans/__main__.py", "train"]) == "domtrans train"
    assert made_by(["/usr/bin/pytest"]) == made_by([]) == made_by([""]) == "domtrans.train"


def test_the_state_of_the_repository_is_recorded(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    found = git_state(tmp_path)
    assert found is not None and len(found["commit"]) == 40 and not found["dirty"]
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path) == found | {"dirty": True}
    monkeypatch.setenv("PATH", str(tmp_path))  # without git
    assert git_state(tmp_path) is None


@pytest.mark.parametrize("part", ["generator.name", "generator_losses.const.distance.name"])
def test_a_missing_plugin_is_named_with_its_distribution(finished, tmp_path, part):
    tensors, metadata = read_tensors(finished.path / "model.safetensors")
    recipe, about = json.loads(metadata["recipe"]), json.loads(metadata["about"])
    node = recipe
    *path, last = part.split(".")
    for key in path:
        node = node[key]
    kind, node[last] = ("generator" if "generator." in part else "distance"), "kmnist-part"
    about["plugins"][f"{kind} kmnist-part"] = "domtrans-kmnist 0.3 (plugin 'kmnist', interface 1)"
    write_tensors(tmp_path / "m.safetensors", tensors, metadata | {"recipe": json.dumps(recipe), "about": json.dumps(about)})
    with pytest.raises(DomtransError, match=r"there is no .* 'kmnist-part'.* install its plugin, domtrans-kmnist 0\.3"):
        load(tmp_path / "m.safetensors", device="cpu", registry=registry())


# Best by validation


def test_the_best_model_is_saved_beside_the_last(finished):
    scores = {line["step"]: line["validation.score"] for line in metrics(finished.path)}
    assert list(scores) == [1, 2, 3, 4, 5] and all(0 <= score <= 1 for score in scores.values())
    best = max(scores, key=lambda step: scores[step])  # the first of several
    assert finished.results["best"] == {"validation.score": pytest.approx(scores[best], abs=1e-6), "step": best}
    run = load(finished.path / "best.safetensors", device="cpu", registry=registry())
    assert run.about["chosen"] == f"validation.score {finished.results['best']['validation.score']:.4g} at step {best}"
    assert run.results == {} and run.path == finished.path and run.about["step"] == best
    assert run.evaluate()["n"] == 4


def test_the_score_needs_no_label_and_no_head(tmp_path):
    unlabelled = {"name": "arrays", "path": write_bars(tmp_path / "u.npz", labelled=False), "holdout": 0.25}
    run = go(tiny_recipe(tmp_path, source=unlabelled, fit=None, train__validate_every=3), tmp_path / "run")
    scores = [line["validation.score"] for line in metrics(run.path) if "validation.score" in line]
    assert len(scores) == 2 and all(0 <= score <= 1 for score in scores)  # at steps 3 and 4, the last


def test_the_energy_distance_is_zero_for_equal_distributions():
    torch.manual_seed(0)
    a, b = torch.randn(400, 10), torch.randn(400, 10)
    shifted = [energy_distance(a, b + shift) for shift in (0.0, 0.5, 1.0, 3.0)]
    assert shifted[0] < 0.01 < shifted[1] < shifted[2] < shifted[3]
    assert energy_distance(a, 2 * b) > 0.1  # the deviation counts too
    by_hand = 2 * (a[:3, None] - b[None, :2]).norm(dim=2).mean()
    by_hand -= (a[:3, None] - a[None, :3]).norm(dim=2).sum() / 6 + (b[:2, None] - b[None, :2]).norm(dim=2).sum() / 2
    assert energy_distance(a[:3], b[:2]) == pytest.approx(max(0.0, by_hand.item()), abs=1e-5)


class Copying(torch.nn.Module):
    """A transfer with a given output."""

    def __init__(self, encoder, images):
        super().__init__()
        self.encoder, self.images = encoder, images

    def apply_to(self, images):
        return self.images


def test_agreement_or_realism_alone_scores_low(finished):
    recipe = finished.recipe
    source = registry().build("domain", recipe.source, "train", 32)
    target = domtrans.ImageSet(255 - registry().build("domain", recipe.target, "train", 32).images)
    validation = LabelFreeScore(source, target)
    grey = to_uint8(to_channels(source.images / 127.5 - 1, 1))
    untouched = validation.score(Copying(finished.model.encoder, grey))
    assert untouched["validation.realism"] < 0.05 and untouched["validation.score"] < 0.05
    others = validation.score(Copying(finished.model.encoder, target.images[torch.arange(12).roll(1)]))
    assert others["validation.realism"] > 0.9


def test_label_free_scores_change_nothing_and_resume_exactly(tmp_path):
    plain = go(tiny_recipe(tmp_path, train__steps=8), tmp_path / "plain")
    recipe = tiny_recipe(tmp_path, train__steps=8, train__validate_every=2)
    whole = go(recipe, tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), whole.model.parameters(), strict=True))
    for step in sorted(random.sample(range(1, 8), 2)):
        stop = threading.Event()
        with pytest.raises(Stopped):
            go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(step, stop),))
    cut = go(recipe, tmp_path / "cut")
    assert unlike(whole, cut) == [] and cut.results["best"] == whole.results["best"]
    a, b = (read_tensors(run.path / "best.safetensors")[0] for run in (whole, cut))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(cut.path)]


# Verify


def test_a_run_verifies_to_the_last_digit_on_its_own_machine(finished):
    found = verify(finished)
    assert found.differences == () and found.tolerance == 0 and found.compared >= 7


def test_verify_says_what_differs(finished, tmp_path, capsys):
    results = finished.path / "results.json"
    whole = results.read_text()
    try:
        change_results(results, accuracy=0.99, n=5, steps=7)
        found = verify(finished.path, device="cpu")
        assert {one.name: one.recorded for one in found.differences} == {"accuracy": 0.99, "n": 5, "steps": 7}
        code, out, _ = in_process(capsys, "verify", finished.path, "--device", "cpu")
        assert code == 1 and "accuracy" in out and "0.99" in out
        results.write_text(whole)
        measured = json.loads(whole)
        elsewhere = measured["computed_on"] | {"threads": 4711}
        change_results(results, accuracy=measured["accuracy"] + 0.009, computed_on=elsewhere)
        found = verify(finished.path, device="cpu")
        assert found.differences == () and found.tolerance == 0.01 and "threads 4711 ->" in found.why
        results.unlink()
        with pytest.raises(DomtransError, match="no results to compare with"):
            verify(finished.path, device="cpu")
    finally:
        results.write_text(whole)
    code, out, _ = in_process(capsys, "verify", finished.path, "--device", "cpu")
    assert code == 0 and "values are as recorded" in out
    code, out, _ = in_process(capsys, "verify", finished.path, "--device", "cpu", "--json")
    assert code == 0 and json.loads(out)["differences"] == []


# Deterministic mode


def test_deterministic_algorithms_are_set_and_reset(tmp_path):
    asked = []

    def listen(progress):
        asked.append(torch.are_deterministic_algorithms_enabled())

    recipe = tiny_recipe(tmp_path, train__deterministic=True)
    run = go(recipe, tmp_path / "run", listeners=(listen,))
    assert all(asked) and not torch.are_deterministic_algorithms_enabled()
    assert run.results["computed_on"]["deterministic"]
    assert unlike(run, go(recipe, tmp_path / "again")) == []


def test_an_operation_without_a_deterministic_form_is_named(tmp_path):
    def fail(progress):
        if progress.phase == "train":
            raise RuntimeError("grid_sampler_2d_backward_cuda does not have a deterministic implementation, but you set ...")

    with pytest.raises(DomtransError, match=r"train.deterministic=true: .*grid_sampler_2d_backward_cuda"):
        go(tiny_recipe(tmp_path, train__deterministic=True), tmp_path / "run", listeners=(fail,))
    assert not torch.are_deterministic_algorithms_enabled()


# Changes on the way


def test_an_allowed_change_is_recorded(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    go(recipe, tmp_path / "run")
    changes = {"train.steps": 4, "train.generator_optimizer.lr": 1e-3, "view": "blur"}
    run = go(recipe, tmp_path / "run", resume=True, allow_changes=changes)
    assert run.results["steps"] == 4 and run.recipe.train.generator_optimizer.lr == 1e-3
    assert any(line == "from step 2: train.generator_optimizer.lr: 0.0002 -> 0.001" for line in run.results["changed"])
    assert any(line.startswith("from step 2: view") for line in run.results["changed"])
    assert go(run.recipe, tmp_path / "run").results == run.results  # the recipe in the folder is the changed one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "'seed' cannot change when a run resumes"),
        ({"generator.width": 8}, "'generator.width' cannot change"),
        ({"source.holdout": 0.5}, "'source.holdout' cannot change"),
        ({"train.generator_optimizer.name": "sgd"}, "cannot change"),
        ({"train.generator_optimizer.lr": 1.0}, "is finished; to change it, resume it with more train.steps"),
        ({"train.nonsense": 1.0}, "nonsense"),
    ],
)
def test_what_cannot_change_is_refused(tmp_path, changes, message):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    go(recipe, tmp_path / "run")
    with pytest.raises(DomtransError, match=message):
        go(recipe, tmp_path / "run", resume=True, allow_changes=changes)
    with pytest.raises(DomtransError, match=r"add --resume|nonsense"):
        go(recipe, tmp_path / "run", allow_changes=changes)


def test_a_change_that_is_not_named_is_refused_with_a_hint(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    go(recipe, tmp_path / "run")
    other = override(recipe, {"train.steps": 4, "train.ema": 0.5, "train.batch_size": 8}, registry())
    with pytest.raises(DomtransError, match=r"train.batch_size: 4 -> 8.*--allow-changes path=value"):
        go(other, tmp_path / "run", resume=True)
    with pytest.raises(DomtransError, match=r"train.batch_size: 4 -> 8"):
        go(other, tmp_path / "run", resume=True, allow_changes=["train.ema=0.5"])
    with pytest.raises(DomtransError, match=r"seed: 0 -> 1\); choose another folder with --out$"):
        go(override(recipe, {"seed": 1, "train.steps": 4}, registry()), tmp_path / "run", resume=True)


def test_changes_from_the_command_line(tmp_path, data, capsys):
    command = ["train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "--device", "cpu", "-q"]
    assert in_process(capsys, *command, "train.steps=2")[0] == 0
    code, out, _ = in_process(
        capsys,
        *command,
        "train.steps=3",
        "--resume",
        "--allow-changes",
        "train.ema=0.5",
        "--allow-changes",
        "train.batch_size=3",
    )
    assert code == 0 and "from step 2: train.ema: 0.0 -> 0.5" in out and "measured before" in out
    assert domtrans.load(tmp_path / "run", device="cpu", registry=registry()).recipe.train.batch_size == 3
