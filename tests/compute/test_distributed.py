"""Several processes train as one: the same weights, one run folder, and all end when one of them ends."""

import json
import signal

import pytest
import torch
from torch import nn

from commands import ENDLESS, SMALL, in_process
from domtrans import Batches, DomtransError, override
from domtrans.compute.distributed import SINGLE_PROCESS, Group, local_device
from domtrans.evaluation.health import DIVERSITY
from domtrans.runs.folder import RunFolder
from domtrans.storage.tensors import read_tensors
from domtrans.training.checkpoint import training_state
from paths import HELPERS
from processes import run, start_group, start_step, wait_until
from tiny import registry, tiny_recipe, tiny_trainer, write_bars
from tiny_runs import go, losses, metrics, tensors, unlike
from worker_of_a_group import BATCH, norm_inputs, norms, through

# SGD scales its step with the gradient; Adam would turn a rounding error of a gradient near zero into a whole step.
PLAIN = {f"train__{player}_optimizer": {"name": "sgd", "lr": 2e-5} for player in ("generator", "discriminator")}

REGULARISED = {
    "discriminator__norm": "spectral",
    "discriminator_losses__r1": "gradient-penalty",
    "discriminator_losses__r2": {"name": "gradient-penalty", "images": "generated"},
    "discriminator_losses__lecam": {"name": "lecam", "weight": 0.1},
}
ADAPTIVE = {"name": "adaptive", "interval": 1, "ramp": 8, "initial": 0.5}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Train recipes in two processes; returns the folder of the runs, the recipes, and the outputs."""
    out = tmp_path_factory.mktemp("together")
    settings = {"train__batch_size": 8, "train__steps": 6, "train__save_every": 3, **PLAIN}
    recipes = {
        "exact": tiny_recipe(out, **settings, train__discriminator_floor=0.01, train__balance_source=True),
        "parts": tiny_recipe(out, **REGULARISED, **settings, train__accumulate=2, train__updates="separate"),
        "augmented": tiny_recipe(out, **settings, source_augmentation="warp", view="paint", discriminator_view=ADAPTIVE),
    }
    for name, recipe in recipes.items():
        (out / f"{name}.json").write_text(recipe.to_json())
    processes = start_group(2, HELPERS / "worker_of_a_group.py", out)
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return out, recipes, outputs


@pytest.mark.parametrize("recipe", ["exact", "parts"])
def test_two_processes_train_the_weights_of_one_at_the_same_batch(together, tmp_path, recipe):
    out, recipes, _ = together
    alone = go(recipes[recipe], tmp_path / recipe)
    wanted, found = tensors(alone), tensors(out / recipe)
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():  # float32 sums in another order; gradients are in the thousands
        assert (found[key] - value).abs().max() <= 1e-4 * value.abs().max() + 1e-4, key
    name = "generator.layers.1.weight"
    begin = training_state(tiny_trainer(recipes[recipe]))[name]
    assert (wanted[f"training.safetensors:{name}"] - begin).abs().max() > 0.01 * begin.abs().max()
    for one, other in zip(metrics(alone.path), metrics(out / recipe), strict=True):
        del one[DIVERSITY], other[DIVERSITY]  # a standard deviation over part of the batch
        assert losses(one) == pytest.approx(losses(other), rel=1e-3, abs=1e-4)


def test_only_the_main_process_writes_and_the_results_have_the_number_of_processes(together):
    out, _, _ = together
    assert RunFolder(out / "exact").results()["processes"] == 2
    assert [line["step"] for line in metrics(out / "exact")] == [1, 2, 3, 4, 5, 6]
    assert all(line["memory_mb"] > 0 for line in metrics(out / "exact"))


def test_a_stopped_run_of_two_resumes_exactly(together):
    out, _, outputs = together
    assert all("stopped at step 3 of 6" in output for output, _ in outputs)  # one was asked to stop, and both stopped
    assert unlike(out / "augmented", out / "cut") == []
    assert [losses(line) for line in metrics(out / "augmented")] == [losses(line) for line in metrics(out / "cut")]


def test_one_process_resumes_a_run_of_two(together):
    out, recipes, _ = together
    longer = override(recipes["exact"], {"train.steps": 7}, registry())
    assert go(longer, out / "exact", resume=True).results["steps"] == 7


@pytest.mark.parametrize("number", range(len(norms())))
def test_batch_norm_over_two_processes_is_that_of_the_whole_batch(together, number):
    out, _, _ = together
    norm = norms()[number]
    whole = through(norm, norm_inputs())
    parts = [read_tensors(out / f"norm-{number}-{rank}.safetensors")[0] for rank in range(2)]
    for key, wanted in whole.items():
        if key == "made":
            found = torch.cat([part[key] for part in parts])
        elif key == "pull":
            found = torch.cat([part[key] for part in parts]) / 2  # each averaged over its own half
        elif key.endswith(".grad"):
            found = (parts[0][key] + parts[1][key]) / 2
        else:
            assert torch.equal(parts[0][key], parts[1][key])
            found = parts[0][key]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert len(whole["made"]) == BATCH


@pytest.mark.parametrize("count", [3, 1])
@pytest.mark.parametrize("rank", [0, 1])
def test_all_gather_keeps_the_order(together, count, rank):
    out, _, _ = together
    made = read_tensors(out / f"gathered-{count}-{rank}.safetensors")[0]["made"]
    assert made.flatten().tolist() == [float(k) for k in range(count) for _ in range(2)]


def test_two_processes_measure_what_one_does(tmp_path, data, capsys):
    """The evaluator is trained once, images are divided between the processes, and every metric is the same."""
    run, many = tmp_path / "run", write_bars(tmp_path / "many.npz", 300, seed=5)
    assert in_process(capsys, "train", "digits-dtn", *data, *SMALL, "--out", run)[0] == 0
    command = ("evaluate", run, "source=arrays", f"source.path={many}", "--device", "cpu", "--json")
    code, alone, _ = in_process(capsys, *command)
    processes = start_group(2, "-m", "domtrans", *command)
    (main, errors), (other, _) = (process.communicate() for process in processes)
    assert [code, *(process.returncode for process in processes)] == [0, 0, 0], errors
    assert json.loads(main) == json.loads(alone) and other == ""


def test_torchrun_restarts_a_training_that_lost_a_process_and_it_ends_with_the_same_weights(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=6, train__save_every=2, metrics={})
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    command = ("train", tmp_path / "recipe.json", "--device", "cpu", "--out")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--max-restarts", 1)
    done = run(*torchrun, HELPERS / "killed_once.py", 5, *command, tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert "process 1 of 2 lost the connection to another process" in done.stderr and "continues from there" in done.stderr
    assert done.stdout.count("seed 0") == 1  # only one process prints
    whole = start_group(2, "-m", "domtrans", *command, tmp_path / "whole")
    assert [process.communicate() and process.returncode for process in whole] == [0, 0]
    assert unlike(tmp_path / "whole", tmp_path / "killed") == []


def test_the_others_say_that_a_process_was_lost_and_end_with_a_code_that_schedulers_retry(tmp_path, data):
    out = tmp_path / "run"
    processes = start_step(2, "train", "digits-dtn-paper", *data, *ENDLESS, "--out", out, "--device", "cpu")
    wait_until((out / "metrics.jsonl").is_file, processes[0])
    processes[1].kill()
    output, errors = processes[0].communicate()
    assert processes[1].wait() == -signal.SIGKILL and processes[0].returncode == 138, errors
    assert "process 1 of 2 lost the connection to another process" in errors and output == ""
    processes[1].communicate()


def test_an_error_in_one_process_is_an_error_in_all(tmp_path, data):
    """So a scheduler does not start a job again and again that cannot work."""
    recipes = ["digits-dtn-paper", *data, *SMALL], ["digits-dtn-paper", *data, *SMALL, f"target.path={tmp_path / 'no.npz'}"]
    words = [("train", *recipe, "--out", tmp_path / "run", "--device", "cpu") for recipe in recipes]
    processes = start_step(2, *words[0], others=words[1])
    outputs = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert "process 1 of 2 ends because another process failed" in outputs[0] and "process 2 of 2: " in outputs[1]


@pytest.mark.parametrize(
    ("endless", "phase"),
    [("fit.steps=1000000", "fitting f"), ("metrics.digits.steps=1000000", "evaluating"), ("train.steps=1000000", "training g")],
)
def test_a_signal_to_any_process_stops_all_in_every_phase(tmp_path, data, endless, phase):
    """The process that gets it waits for the main process inside torch, where Python sees no signal."""
    words = ("train", "digits-dtn", *data, *SMALL, "train.steps=1", endless, "--out", tmp_path / "run", "--device", "cpu")
    processes = start_step(2, *words)
    lines = []
    while not any(phase in line for line in lines):
        lines.append(processes[0].stderr.readline())
        assert lines[-1], "".join(lines)
    processes[1].send_signal(signal.SIGUSR1)
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [130, 130], outputs
    assert "continue with: srun --ntasks 2 domtrans train digits-dtn" in outputs[0][1]
    assert outputs[1] == ("", "")  # torch would warn if the main process, which keeps the store, ended first


def test_a_batch_that_cannot_be_split_is_refused_at_the_start(tmp_path):
    for batch_size, accumulate, group, wanted in [
        (30, 1, Group(0, 4), r"batch_size=30 cannot be split into 4 equal parts.*over 4 processes.*multiple of 4, at"),
        (4, 1, Group(0, 4), "at least 8"),
        (8, 3, SINGLE_PROCESS, r"3 equal parts of at least 2 images \(train.accumulate=3\)"),
    ]:
        with pytest.raises(DomtransError, match=wanted):
            group.micro_batch_size(batch_size, accumulate)
    assert Group(1, 4).micro_batch_size(24, 3) == 2
    with pytest.raises(DomtransError, match="cannot be split"):
        go(tiny_recipe(tmp_path, train__accumulate=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_parts_of_all_processes_are_the_batch():
    whole = Batches(7, 12, 3)
    for k in range(3):
        shares = [Batches(7, 4, 3, rank=rank, ranks=3)[k] for rank in range(3)]
        assert torch.equal(torch.cat(shares), whole[k])


def test_every_process_gets_its_own_device(monkeypatch):
    assert local_device("cuda:1") == "cuda:1"  # one process: as given
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (local_device("auto"), local_device("cuda"), local_device("cpu")) == ("cuda:1", "cuda:1", "cpu")
    for name in ("mps", "cuda:0"):
        with pytest.raises(DomtransError, match=f"with one GPU each, not on '{name}'"):
            local_device(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DomtransError, match="start torchrun with --nproc-per-node 1"):
        local_device("auto")


def test_one_process_communicates_nothing():
    assert SINGLE_PROCESS.any_of(stop=True, hold_d=False) == (True, False) and SINGLE_PROCESS.is_main
    SINGLE_PROCESS.barrier()
    weights = {"a": torch.ones(2)}
    assert SINGLE_PROCESS.broadcast(weights) is weights and SINGLE_PROCESS.my_part([1, 2, 3]) == [1, 2, 3]


def test_a_custom_batch_norm_is_refused(tmp_path):
    class Loud(nn.BatchNorm2d):
        pass

    with pytest.raises(DomtransError, match="1 is a custom batch norm, Loud, which several processes cannot share"):
        Group(0, 2).sync_batch_norm(nn.Sequential(nn.Identity(), Loud(3)), torch.device("cpu"))


def test_a_command_for_one_process_is_refused_under_torchrun(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, _, errors = in_process(capsys, "recipes")
    assert code == 2 and "run `domtrans recipes` without torchrun" in errors
