"""A training can be stopped in every phase, by every signal or by a time limit, and goes on as if it had never stopped."""

import signal
import sys
import threading
from dataclasses import replace

import pytest

from commands import ENDLESS, SMALL, domtrans, in_process
from domtrans import DomtransError, MetricInput, Session, Stopped, override, predict
from domtrans.cli import interrupt
from domtrans.cli.interrupt import parse_duration
from domtrans.runs.folder import RunFolder
from domtrans.training.domain import TrainingDomain
from domtrans.training.experiment import prepare
from domtrans.training.loop import Loop
from processes import start, wait_until
from tiny import registry, tiny_recipe, tiny_trainer
from tiny_runs import go, unlike

NOT_ON_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def test_a_stop_is_heard_in_every_phase_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    target = {"name": "arrays", "path": str(tmp_path / "target.npz")}
    loss = {"name": "oracle-consistency", "target": target, "steps": 50, "batch_size": 4}
    fits = {"fit.steps": 20, "adapt": {"name": "self-training", "steps": 20, "batch_size": 4}, "metrics.digits.steps": 50}
    phases = {"oracle": True, "generator_losses.oracle": loss, **fits}  # each network reports its progress, and is then saved
    recipe = override(tiny_recipe(tmp_path, "digits-dtn", train__steps=3), phases, registry())
    for phase in ("data", "oracle", "fit", "adapt", "encode", "train", "evaluate"):
        stop = threading.Event()

        def listen(progress, phase=phase, stop=stop):
            if progress.phase == phase and progress.step > 0:
                stop.set()

        with pytest.raises(Stopped, match="at step 1 of 3" if phase == "train" else f"stopped during {phase}"):
            go(recipe, tmp_path / "run", stop=stop, listeners=(listen,))
    assert unlike(go(recipe, tmp_path / "whole"), go(recipe, tmp_path / "run")) == []


def test_passes_over_all_images_are_stopped_between_batches(tmp_path):
    recipe = tiny_recipe(tmp_path)
    experiment = prepare(recipe, registry(), Session.start("cpu", precision="float32"))
    stopped = replace(Session.start("cpu"), phase="evaluate")
    stopped.stop.set()
    images = experiment.source
    inputs = MetricInput(experiment.transfer, images, images, images, stopped)
    for work in (lambda: inputs.transferred, lambda: predict(experiment.transfer, images, stopped)):
        with pytest.raises(Stopped, match="during evaluate"):
            work()
    with pytest.raises(Stopped, match="during encode"):
        TrainingDomain("source", images, experiment.transfer.encoder, stopped)


@NOT_ON_WINDOWS
def test_a_stop_signal_saves_and_ends_with_a_code_that_schedulers_retry(data, tmp_path):
    log = tmp_path / "run" / "metrics.jsonl"
    process = start("-m", "domtrans", "train", "digits-dtn-paper", *data, *ENDLESS, "--out", log.parent)
    wait_until(lambda: log.is_file() and log.stat().st_size, process)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate()
    assert process.returncode == 130 and f"everything is saved in {log.parent} (SIGUSR1)" in errors, errors
    folder = RunFolder(log.parent)
    assert int(folder.load_training()["step"]) == folder.metrics()[-1]["step"]


@NOT_ON_WINDOWS
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_all_stop_signals_stop(name):
    before = signal.signal(getattr(signal, name), signal.SIG_DFL)  # SIGHUP is ignored if the tests run under nohup
    try:
        with interrupt.stop_on_signals() as stop:
            signal.raise_signal(getattr(signal, name))
            assert stop.is_set() and stop.explain("stopped") == f"stopped ({name})"
    finally:
        signal.signal(getattr(signal, name), before)


@NOT_ON_WINDOWS
def test_a_signal_is_heard_while_a_library_holds_the_main_thread():
    """The other thread hears of it; Python's own handler would run when the lock is free."""
    with interrupt.stop_on_signals() as stop:
        heard = threading.Event()
        waiter = threading.Thread(target=lambda: (stop.wait(), heard.set()))
        waiter.start()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)
        waiter.join()
        assert heard.is_set() and stop.reason == "SIGUSR2"
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL and signal.set_wakeup_fd(-1) == -1


@NOT_ON_WINDOWS
def test_the_second_ctrl_c_aborts_and_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), interrupt.stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert stop.is_set() and stop.reason == "SIGTERM"
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_max_time_stops_and_saves(data, tmp_path):
    done = domtrans("train", "digits-dtn-paper", *data, *ENDLESS, "--out", tmp_path / "run", "--max-time", "0.5s")
    assert done.returncode == 130 and "(--max-time 0.5s)" in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].endswith("--max-time 0.5s --resume")


@pytest.mark.parametrize(("text", "seconds"), [("55m", 3300), ("1h30m", 5400), ("2d", 172_800), ("90s", 90), ("1.5h", 5400)])
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "55", "0m", "5 m", "-5m", "1h30", "soon", "1:30"])
def test_other_durations_are_refused(text):
    with pytest.raises(DomtransError, match=r"write e\.g\. 55m, 2h or 1h30m"):
        parse_duration(text)


def test_a_duration_is_one_that_a_thread_can_wait():
    for text in ("99999999999d", "9" * 400 + "s"):
        with pytest.raises(DomtransError, match=r"the duration '9+[ds]' is too long; the longest is \d+d"):
            parse_duration(text)


def test_a_wrong_duration_is_refused_before_anything_is_computed(tmp_path, data, capsys):
    code, _, errors = in_process(
        capsys, "train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "--max-time", "5"
    )
    assert code == 2 and "'5' is not a duration" in errors and not (tmp_path / "run").exists()


def test_saves_by_wall_time(tmp_path):
    """A minute passes in every step; the clock is read as often as the saves need it."""
    recipe = tiny_recipe(tmp_path, train__steps=8, train__save_every=6, train__save_minutes=2)
    trainer, folder, now, saved = tiny_trainer(recipe), RunFolder(tmp_path / "run"), [0.0], []
    with folder.open(recipe, registry(), resume=False):
        loop = Loop(trainer, folder, recipe, trainer.source.some(4), {}, clock=lambda: now[0])
        loop.start_or_resume()
        for step in range(1, 8):
            now[0] += 60
            trainer.step()
            loop.finish_step()
            saved.append((step, int((folder.load_training() or {"step": 0})["step"])))
    assert saved == [(1, 0), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6), (7, 6)]
    assert [path.name for path in (tmp_path / "run" / "earlier").glob("*")] == []
    assert "save_minutes" in (tmp_path / "run" / "recipe.json").read_text()
