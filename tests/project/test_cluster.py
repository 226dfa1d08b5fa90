"""The job files in examples/cluster: their commands are valid, and they start a job again exactly when that helps."""

import importlib
import os
import shlex
import subprocess
import sys
import threading
import types

import pytest
import yaml
from typer.main import get_command

from domtrans import Stopped
from domtrans.cli.commands import app
from domtrans.cli.exit_codes import INTERRUPTED, LOST_PROCESS, USER_ERROR
from paths import EXAMPLES

CLUSTER = EXAMPLES / "cluster"


def check_train(words):
    """Fail unless ``domtrans train ...`` is a valid command."""
    assert words[:2] == ["domtrans", "train"]
    assert get_command(app).commands["train"].make_context("train", words[2:])


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [
        (0, 0, False),
        (1, 0, False),
        (USER_ERROR, 0, False),
        (INTERRUPTED, 0, True),
        (LOST_PROCESS, 99, True),
        (LOST_PROCESS, 100, False),
    ],
)
def test_the_slurm_job_is_queued_again_after_a_stop_only(tmp_path, code, restarts, again):
    for name, ends in (("srun", code), ("scontrol", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >> "$CALLS"\nexit {ends}\n')
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "SLURM_JOB_ID": "7"}
    environment |= {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
    script = ["bash", str(CLUSTER / "slurm.sh"), "svhn-dtn", "runs/svhn", "train.steps=5"]
    assert subprocess.run(script, env=environment).returncode == code
    called = [shlex.split(line) for line in calls.read_text().splitlines()]
    assert called[0] == ["srun", "domtrans", "train", "svhn-dtn", "--out", "runs/svhn", "train.steps=5"]
    assert called[1:] == ([["scontrol", "requeue", "7"]] if again else [])
    check_train(called[0][1:])


def test_the_kubernetes_job():
    job = yaml.safe_load((CLUSTER / "kubernetes.yaml").read_text())["spec"]
    (container,) = job["template"]["spec"]["containers"]
    check_train(container["command"])
    permanent = next(rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob")
    assert permanent["containerName"] == container["name"] and permanent["operator"] == "In"
    assert USER_ERROR in permanent["values"] and not {INTERRUPTED, LOST_PROCESS} & {*permanent["values"]}
    (mount,), (volume,) = container["volumeMounts"], job["template"]["spec"]["volumes"]
    assert mount["name"] == volume["name"] and container["command"][-1].startswith(f"{mount['mountPath']}/")


def test_the_skypilot_task():
    task = yaml.safe_load((CLUSTER / "skypilot.yaml").read_text())
    variable, *words = shlex.split(task["run"])
    assert variable.startswith("DOMTRANS_CACHE=/runs/") and words[-1].startswith("/runs/") and "/runs" in task["file_mounts"]
    check_train(words)


def test_submitit_stops_a_training_and_queues_it_again(monkeypatch):
    helpers = types.SimpleNamespace(DelayedSubmission=lambda *call: call)
    monkeypatch.setitem(sys.modules, "submitit", types.SimpleNamespace(helpers=helpers))
    monkeypatch.syspath_prepend(str(CLUSTER))
    example = importlib.import_module("submitit_job")
    running, heard = threading.Event(), []

    def train(recipe, out, *, stop):
        running.set()
        stop.wait()
        heard.append((recipe, out))
        raise Stopped("stopped at step 3 of 9")

    monkeypatch.setattr("domtrans.train", train)
    training = example.Training()

    def call():
        with pytest.raises(Stopped):
            training("svhn-dtn", "out")

    thread = threading.Thread(target=call)
    thread.start()
    running.wait()
    again, *arguments = training.checkpoint("svhn-dtn", "out")
    thread.join()
    assert isinstance(again, example.Training) and arguments == ["svhn-dtn", "out"] and heard == [("svhn-dtn", "out")]
