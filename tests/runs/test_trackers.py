"""Trackers receive what the run folder has, resume with the run, and never stop it."""

import importlib
import importlib.util
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

import domtrans
from commands import SMALL, in_process
from domtrans import DomtransError, Stopped, Tracker, load_plugins, override, testing, train, use
from domtrans.registry.registry import Registry
from domtrans.runs.folder import RunFolder
from domtrans.storage.tensors import read_tensors
from paths import DOCS
from tiny import tiny_recipe

FIGURES = ("generator.const", "discriminator.gan", "images_per_second")


class Recorder(Tracker):
    """Records all calls. ``fails_at`` is the call that raises an exception."""

    heard: list[tuple] = []  # noqa: RUF012 - of all of them, for a registry builds them out of sight

    def __init__(self, folder: Path, recipe: domtrans.Recipe, identity: str, *, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.hear("built", folder, recipe.name, identity)

    def hear(self, event, *what):
        self.heard.append((event, *what))
        if event == self.fails_at:
            raise RuntimeError(f"no\nluck with {event}")

    def log(self, record):
        self.hear("log", dict(record))

    def image(self, name, path, step):
        assert path.is_file()
        self.hear("image", name, path.name, step)

    def close(self, results):
        self.hear("close", results)


class Fussy(Recorder):
    """Raises an error that the user must fix first."""

    def __init__(self, folder: Path, recipe: domtrans.Recipe, identity: str) -> None:
        raise DomtransError("log in first")


class Meddler(Recorder):
    """Changes a file of the run."""

    def __init__(self, folder: Path, recipe: domtrans.Recipe, identity: str) -> None:
        super().__init__(folder, recipe, identity)
        self.file = folder / "metrics.jsonl"

    def log(self, record):
        self.file.write_text("mine")


@pytest.fixture
def registry() -> Registry:
    Recorder.heard.clear()
    found = load_plugins(only=()).registry
    found.tracker("recorder", Recorder)
    found.tracker("fussy", Fussy)
    return found


def of(event):
    return [what for name, *what in Recorder.heard if name == event]


def test_a_tracker_receives_what_the_folder_has_and_changes_nothing(registry, tmp_path):
    recipe = tiny_recipe(tmp_path, train__sample_every=2)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry, track=["recorder"])
    folder = RunFolder(run.path)
    assert [what[0] for what in of("log")] == folder.metrics()
    assert of("image") == [["samples", f"step-{step:06d}.png", step] for step in (2, 4)]
    assert of("close") == [[folder.results()]]
    ((path, name, identity),) = of("built")
    assert (path, name) == (run.path, recipe.name) and identity == (run.path / "identity").read_text() and len(identity) == 32
    alone = train(recipe, tmp_path / "alone", device="cpu", registry=registry)
    assert not (alone.path / "identity").exists() and len(of("built")) == 1
    tracked, plain = (read_tensors(one.path / "training.safetensors")[0] for one in (run, alone))
    same = [name for name in plain if not name.startswith("meter.")]
    assert all(torch.equal(tracked[name], plain[name]) for name in same)


def test_a_resumed_run_has_the_same_identity(registry, tmp_path):
    stop, recipe = threading.Event(), tiny_recipe(tmp_path, metrics__digits="none")

    def after_two(progress):
        if progress.phase == "train" and progress.step == 2:
            stop.set()

    options = {"device": "cpu", "registry": registry, "track": [use("recorder")]}
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", listeners=(after_two,), stop=stop, **options)
    assert of("close") == [[None]] and [what[0]["step"] for what in of("log")] == [1, 2]
    train(recipe, tmp_path / "run", resume=True, allow_changes={"train.ema": 0.5}, **options)
    assert len({what[2] for what in of("built")}) == 1 and of("close")[1][0]["steps"] == 4
    assert [what[0] for what in of("log")][2]["changed"] and [what[0]["step"] for what in of("log")] == [1, 2, 2, 3, 4]
    train(str(tmp_path / "run"), tmp_path / "run", resume=True, **options)  # finished, so nothing is logged
    assert len(of("built")) == 2


def test_a_tracker_that_fails_is_reported_once_and_stops_nothing(registry, tmp_path):
    notes, events = [], ("built", "log", "image", "close")
    run = train(
        tiny_recipe(tmp_path, train__sample_every=1, metrics__digits="none"),
        tmp_path / "run",
        device="cpu",
        registry=registry,
        track=[*(f'{{"name": "recorder", "fails_at": "{event}"}}' for event in events), "recorder"],
        listeners=(lambda progress: notes.append(progress.note) if "tracker" in progress.note else None,),
    )
    assert run.results["steps"] == 4 and of("close")[-1] == [run.results]
    assert sorted(notes) == [
        f"the tracker 'recorder' failed (no luck with {event}); training continues without it, and metrics.jsonl has everything"
        for event in sorted(events)
    ]
    # Each tracker is called until it fails.
    assert (len(of("log")), len(of("image")), len(of("close"))) == (4 + 4 + 1, 4 + 4 + 1 + 1, 2)


@pytest.mark.parametrize(
    "track, fault",
    [
        ("recordr", r"there is no tracker 'recordr' \(did you mean 'recorder'\?\)"),
        ('{"name": "recorder", "speed": 3}', "there is no option 'speed'"),
        ('{"name": "recorder", "fails_at": 3}', "option 'fails_at'"),
        ("{}", "option 'name' must be given"),
        ("3", "there is no tracker '3'"),
        ("fussy", "log in first"),
    ],
)
def test_an_error_of_the_user_is_raised_before_training(registry, tmp_path, track, fault):
    with pytest.raises(DomtransError, match=fault):
        train(tiny_recipe(tmp_path), tmp_path / "run", device="cpu", registry=registry, track=[track])
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_without_its_library_the_command_that_installs_it_is_named(name, capsys, monkeypatch, tmp_path, data):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    code, _, said = in_process(capsys, "train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "--track", name)
    assert code == 2 and f"pip install 'domtrans[{name}]'" in said


def test_the_checks_find_faults_of_trackers(registry):
    testing.check_tracker(registry, "recorder")
    registry.tracker("meddler", Meddler)
    with pytest.raises(AssertionError, match="tracker-harmless"):
        testing.check_tracker(registry, "meddler")
    for event in ("built", "log", "image", "close"):
        with pytest.raises(AssertionError, match=f"no luck with {event}"):
            testing.check_tracker(registry, "recorder", fails_at=event)


def test_the_tracker_in_the_docs_works(tmp_path, monkeypatch):
    page = (DOCS / "trackers.md").read_text()
    (tmp_path / "lines_of_the_docs.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    plugin = importlib.import_module("lines_of_the_docs").Plugin()
    testing.check_tracker(load_plugins(plugin, only=()), "lines", file="lines.txt")


# The real ones


def write_grid(path):
    Image.new("RGB", (8, 8)).save(path)
    return path


def present(library):
    return pytest.mark.skipif(
        importlib.util.find_spec(library) is None, reason=f"{library}, of the extra domtrans[{library}], is not installed"
    )


@present("tensorboard")
def test_tensorboard_shows_the_log_and_continues_after_a_rollback(capsys, data, tmp_path, registry):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    testing.check_tracker(registry, "tensorboard")
    out = tmp_path / "run"
    command = ["train", "digits-dtn-paper", *data, *SMALL, "train.save_every=2", "metrics.digits=none", "--out", out]
    assert in_process(capsys, *command, "--track", "tensorboard")[0] == 0
    assert in_process(capsys, *command, "train.steps=6", "--resume", "--track", "tensorboard")[0] == 0
    log = RunFolder(out).metrics()
    # As after a rollback or a crash: the run continues from step 4 with other values.
    again = registry.build("tracker", use("tensorboard"), out, domtrans.find_recipe(str(out), registry), "0" * 32)
    again.log({"step": 4, "seconds": 9.0, "alarms": {"rollback-1": "going on from step 4"}})
    again.log({"step": 5, "seconds": 9.0, "generator.const": 77.0})
    again.close(None)
    shown = EventAccumulator(str(out / "tensorboard"))
    shown.Reload()
    for name in FIGURES:
        kept = [(line["step"], line[name]) for line in log if line["step"] <= 4]
        told = [(event.step, event.value) for event in shown.Scalars(name.replace(".", "/", 1)) if event.step <= 4]
        assert told == [(step, pytest.approx(value, rel=1e-5)) for step, value in kept]
    const = [(event.step, event.value) for event in shown.Scalars("generator/const")]
    assert const[-1] == (5, 77.0) and len(const) == 5
    assert shown.Images("samples") and "results/seconds.training" in shown.Tags()["scalars"]


@present("mlflow")
@pytest.mark.filterwarnings("default")  # of mlflow itself
def test_mlflow_continues_the_run(monkeypatch, tmp_path, registry):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # creating a database takes half a minute
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    place = str(tmp_path / "mlruns")
    testing.check_tracker(registry, "mlflow", uri=place)
    client = mlflow.MlflowClient(place)
    experiment = client.get_experiment_by_name("domtrans")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.metrics["results.transfer_accuracy"] == 0.9
    assert run.data.params["generator_losses.const.distance"] == '"mse"' and run.data.tags["alarm.d-wins"] == "step 2: D wins"
    told = client.get_metric_history(run.info.run_id, "generator.const")
    assert [(one.step, one.value) for one in told] == [(1, 2.0), (2, 1.0), (2, 0.5)]
    assert [one.path for one in client.list_artifacts(run.info.run_id, "samples")] == [
        "samples/step-000001.png",
        "samples/step-000002.png",
    ]


@present("wandb")
@pytest.mark.filterwarnings("default")  # of wandb itself
def test_wandb_stores_a_run_offline_under_its_identity(monkeypatch, tmp_path, registry):
    monkeypatch.setenv("WANDB_X_SAVE_REQUIREMENTS", "false")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    import wandb

    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    recipe = override(tiny_recipe(tmp_path), {"name": "offline"}, registry)
    tracker = registry.build("tracker", use("wandb", mode="offline"), folder, recipe, "f" * 32)
    tracker.log({"step": 1, "seconds": 0.5, "generator.const": 0.25, "alarms": {"d-wins": "D wins"}})
    tracker.image("samples", write_grid(folder / "samples" / "step-000001.png"), 1)
    run = wandb.run
    assert run.id == "f" * 32 and run.offline and run.config["source"]["name"] == "arrays" and run.project == "domtrans"
    assert (run.summary["generator.const"], run.summary["step"]) == (0.25, 1)
    tracker.close({"steps": 1, "transfer_accuracy": 0.5})
    assert wandb.run is None
    (kept,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    assert kept.name == f"run-{'f' * 32}.wandb" and list(kept.parent.glob("files/media/images/samples_*.png"))
