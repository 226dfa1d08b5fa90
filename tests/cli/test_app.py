"""The command line on a run of a few steps, some of it in processes of its own."""

import json
import math
import os
import signal
import subprocess
import sys
import tomllib

import pytest
from PIL import Image

from commands import SMALL, domtrans, in_process
from processes import start, wait_until
from tiny import write_bars


def test_train_prints_results_on_stdout_and_progress_on_stderr(trained):
    out, done = trained
    assert done.returncode == 0, done.stderr
    for words in ("source data", "arrays", "target data", "transfer accuracy", "accuracy of f", "images/s", "seed 0", str(out)):
        assert words in done.stdout
    assert str(out / "samples" / "step-000004.png") in done.stdout
    assert done.stderr.splitlines()[0] == "loading data"
    assert "training g and D" in done.stderr and "evaluating" in done.stderr
    assert not set(map(chr, range(32))) - {"\n"} & set(done.stdout + done.stderr), "control characters in a pipe"


def test_training_again_changes_nothing(trained, data, capsys):
    out, done = trained
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    code, stdout, _ = in_process(capsys, "train", "digits-dtn-paper", *data, *SMALL, "--out", out)
    assert code == 0 and stdout == done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}


def test_a_run_repeats_and_resumes_with_more_steps(trained, tmp_path, capsys):
    out, _ = trained
    assert in_process(capsys, "train", out, "--out", tmp_path / "again", "-q")[0] == 0
    code, stdout, stderr = in_process(capsys, "train", tmp_path / "again", "train.steps=6", "--resume", "--quiet")
    assert code == 0 and stderr == ""
    assert "step-000006.png" in stdout
    steps = [json.loads(line)["step"] for line in (tmp_path / "again" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_evaluate_json_prints_one_object_only(trained, data, capsys):
    done = domtrans("evaluate", trained[0], "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["n"] == 4 and 0 <= results["accuracy"] <= 1 and 0 <= results["encoder_accuracy"] <= 1
    whole = data[3].replace("target", "source"), data[4].replace("target.path", "source.path")
    code, stdout, _ = in_process(capsys, "evaluate", trained[0], *whole, "--json")
    assert code == 0 and json.loads(stdout)["n"] == 16, "other data is measured whole"
    code, stdout, _ = in_process(capsys, "evaluate", trained[0])
    assert code == 0 and "transfer accuracy" in stdout


def test_what_plugins_print_does_not_spoil_the_json(trained, monkeypatch, capsys):
    import domtrans_digits.metrics.accuracy

    monkeypatch.setattr(domtrans_digits.metrics.accuracy, "share_correct", lambda *_: sys.stdout.write("chatter") * math.nan)
    code, stdout, stderr = in_process(capsys, "evaluate", trained[0], "--json")
    assert code == 0 and json.loads(stdout)["accuracy"] is None and "chatter" in stderr


def test_a_metric_that_cannot_be_measured_is_named(trained, tmp_path, capsys):
    bare = write_bars(tmp_path / "bare.npz", labelled=False)
    code, stdout, _ = in_process(capsys, "evaluate", trained[0], "source=arrays", f"source.path={bare}")
    assert code == 0 and "not measured" in stdout and "labels" in stdout


def test_transfer_files_and_folders(trained, tmp_path, capsys):
    photos = tmp_path / "photos"
    (photos / "inner").mkdir(parents=True)
    Image.new("RGB", (50, 40), "red").save(photos / "a.jpg")
    Image.new("L", (20, 30)).save(photos / "inner" / "b.png")
    code, stdout, _ = in_process(capsys, "transfer", trained[0], photos / "a.jpg", tmp_path / "one.png")
    assert code == 0 and "one.png" in stdout
    with Image.open(tmp_path / "one.png") as made:
        assert made.size == (32, 32)
    assert in_process(capsys, "transfer", trained[0], photos, tmp_path / "all")[0] == 0
    (photos / "broken.png").write_bytes(b"no picture")
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], photos, tmp_path / "all")
    assert code == 1 and "broken.png" in stderr and "2 images" in stdout
    assert {path.name for path in (tmp_path / "all").rglob("*.png")} == {"a.png", "b.png"}


def test_lists(capsys):
    code, stdout, _ = in_process(capsys, "recipes", "--json")
    assert code == 0 and "digits-dtn" in {recipe["name"] for recipe in json.loads(stdout)}
    assert "digits-dtn" in in_process(capsys, "recipes")[1]
    code, stdout, _ = in_process(capsys, "plugins", "--json")
    dtn = next(plugin for plugin in json.loads(stdout) if plugin["name"] == "dtn")
    assert code == 0 and dtn["distribution"] == "domtrans" and "ternary-generator" in dtn["registers"]["loss"]
    assert "ternary-generator" in in_process(capsys, "plugins")[1]


def test_show_reads_back(tmp_path, capsys):
    shown = in_process(capsys, "show", "digits-dtn", "train.steps=7")[1]
    assert json.loads(shown)["train"]["steps"] == 7
    toml = in_process(capsys, "show", "digits-dtn", "train.steps=7", "--toml")[1]
    assert tomllib.loads(toml)["train"]["steps"] == 7
    (tmp_path / "my.toml").write_text(toml)
    assert in_process(capsys, "show", tmp_path / "my.toml")[1] == shown


def test_a_broken_plugin_is_a_warning(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_plugin.py").write_text("raise ImportError('no such thing')")
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[domtrans]\nbroken = broken_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, stdout, stderr = in_process(capsys, "recipes", "--json")
    assert code == 0 and json.loads(stdout)
    assert stderr.count("\n") == 1 and "warning" in stderr and "'broken'" in stderr and "no such thing" in stderr
    code, stdout, stderr = in_process(capsys, "plugins", "--verbose")
    assert code == 0 and stderr == "" and "no such thing" in stdout and "Traceback" in stdout


def test_help_and_version_do_not_wait_for_torch():
    script = (
        "import sys\n"
        "from domtrans.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'torch', 'numpy', 'PIL', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "evaluate" in done.stdout and done.stdout.splitlines()[-1] == "set()"
    done = subprocess.run([sys.executable, "-m", "domtrans", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("domtrans ")


@pytest.mark.parametrize("command", ["train", "evaluate", "transfer", "recipes", "plugins", "show"])
def test_every_command_explains_itself(command, capsys):
    code, stdout, _ = in_process(capsys, command, "--help")
    assert code == 0 and f"Examples:\n    domtrans {command}" in stdout


def test_usage_errors_exit_2(capsys):
    assert in_process(capsys, "train")[0] == 2
    assert in_process(capsys, "no-such-command")[0] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_saves_and_says_how_to_continue(data, tmp_path):
    out = tmp_path / "run"
    long = [*data, *SMALL, "train.steps=100000", "train.save_every=100000", "train.sample_every=100000"]
    command = ["domtrans", "train", "digits-dtn-paper", *long, "--out", str(out)]
    process = start("-m", *command)
    log = out / "metrics.jsonl"
    wait_until(lambda: log.is_file() and log.stat().st_size, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert stdout == "" and "Traceback" not in stderr
    assert f"everything is saved in {out}" in stderr
    assert (out / "model.safetensors").is_file()
    again = stderr.splitlines()[-1].removeprefix("continue with: ")
    assert again == " ".join([*command, "--resume"])
    step = json.loads(log.read_text().splitlines()[-1])["step"]
    done = domtrans(*again.replace("steps=100000", f"steps={step + 3}").split()[1:])
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, step + 4)), "went on where it had stopped"


def test_ctrl_c_while_the_commands_are_made_has_no_traceback(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("commands.build_once", interrupted)
    assert in_process(capsys, "recipes") == (130, "", "")


@pytest.mark.parametrize("library", ["typer", "torch", "pluggy"])
@pytest.mark.parametrize("start", [["-m", "domtrans"], ["-c", "from domtrans.cli.app import main; main()"]])
def test_ctrl_c_while_libraries_are_imported_has_no_traceback(tmp_path, library, start):
    (tmp_path / f"{library}.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, *start, "report", "models:digits-dtn", "-o", str(tmp_path / "page.html")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 130 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr


def test_a_reader_that_ends_early_is_no_error():
    process = start("-m", "domtrans", "show", "digits-dtn")
    process.stdout.close()
    assert process.wait() == 0 and process.stderr.read() == ""
    process.stderr.close()


def test_the_list_of_commands_shows_each_purpose_in_full(capsys):
    code, out, _ = in_process(capsys, "--help")
    commands = out.partition("Commands:")[2].strip().splitlines()
    assert code == 0 and len(commands) > 10
    assert not [line for line in commands if not line.endswith(".") or line.endswith("...")]
