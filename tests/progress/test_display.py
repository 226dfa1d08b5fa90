"""Who sees progress: a program on a terminal or in a notebook does, one whose output goes to a file does not."""

import os
import pty
import re
import sys
from types import SimpleNamespace
from typing import get_args

import pytest
import rich

from domtrans import DomtransError, Phase, Progress, Session, generate, load, show_progress, train, transfer, verify
from domtrans.progress.phase import PHASE_LABELS
from processes import run
from tiny import tiny_recipe
from tiny_runs import go

PHASES = ["loading data", "fitting f", "encoding images", "training g and D", "evaluating"]
PROGRAM = """
import sys, domtrans
run = domtrans.load(sys.argv[1], device="cpu")
run.evaluate(**eval(sys.argv[2]))
print("done")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run, and what its training wrote with ``progress=True``."""
    folder = tmp_path_factory.mktemp("finished")
    go(tiny_recipe(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def notebook(monkeypatch):
    """A notebook, as far as IPython's display shows one: the outputs below a cell, each as text."""
    outputs = []

    class Output:
        def __init__(self, shown):
            self.place = len(outputs)
            outputs.append("")
            self.update(shown)

        def update(self, shown):
            bundle = shown._repr_mimebundle_((), ())
            assert bundle["text/html"].startswith("<pre")
            outputs[self.place] = re.sub("\x1b\\[[0-9;]*m", "", bundle["text/plain"])

    def display(shown, *, display_id):
        assert display_id
        return Output(shown)

    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=SimpleNamespace(display=display)))
    monkeypatch.setattr("builtins.get_ipython", shell, raising=False)
    monkeypatch.setattr(rich, "_console", None)
    return outputs


def on_terminal(*words, **settings):
    """What a program shows on a terminal, where both of its streams go."""
    leader, follower = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "20", "NO_COLOR": "1", "CI": None}
    assert run(*words, stdout=follower, stderr=follower, env=terminal | settings).returncode == 0
    os.close(follower)
    shown = b""
    with os.fdopen(leader, "rb") as screen:
        try:
            while part := screen.read1(1 << 16):
                shown += part
        except OSError:  # as Linux ends a terminal that nobody writes to
            pass
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("options", "shows"), [("{}", True), ("{'progress': False}", False)])
def test_a_program_on_a_terminal_shows_bars_unless_it_asks_for_none(finished, options, shows):
    shown = on_terminal("-c", PROGRAM, finished, options)
    assert ("evaluating" in shown, "━" in shown) == (shows, shows) and shown.endswith("done\r\n")


def test_a_program_whose_output_goes_to_a_file_is_silent_unless_it_asks_for_lines(finished, capfd):
    load(finished).evaluate()
    assert capfd.readouterr() == ("", "")
    load(finished).evaluate(progress=True)
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("evaluating\n")


def test_a_training_shows_its_phases_and_notes(tmp_path, capfd):
    run = train(tiny_recipe(tmp_path), tmp_path / "run", device="cpu", progress=True)
    _, err = capfd.readouterr()
    assert [line for line in err.splitlines() if line in PHASES] == PHASES
    assert "note: source: " in err and "const" in err
    assert verify(run, progress=True).differences == () and "evaluating" in capfd.readouterr().err


def test_generating_and_transferring_files_show_progress_too(finished, tmp_path, capfd):
    generate(finished, tmp_path / "set", split="test", progress=True)
    assert "transferring\n" in capfd.readouterr().err
    transfer(finished, tmp_path / "set", tmp_path / "again", progress=True)
    assert "images/s" in capfd.readouterr().err
    transfer(finished, tmp_path / "set", tmp_path / "again", progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_bars_below_the_cell(tmp_path, notebook, capfd):
    go(tiny_recipe(tmp_path), tmp_path / "run").evaluate(progress=False)
    (output,) = notebook
    lines = output.splitlines()
    assert [line.partition(" ━")[0].strip() for line in lines[: len(PHASES)]] == PHASES
    assert "4/4" in lines[3] and "source: " in output
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_a_note_and_the_next_phase_at_once(notebook):
    with show_progress() as listener:
        listener.get_time = lambda: 1.0
        for report in (
            Progress("fit", 0, 9),
            Progress("fit", 1, 9),
            Progress("fit", 2, 9, note="slow"),
            Progress("train", 0, 9),
        ):
            listener(report)
            seen = notebook[0]
            assert ("0/9" in seen.splitlines()[0]) == (report.phase == "fit" and not report.note)
        assert "step 2: slow" in seen and "training g and D" in seen


def test_of_two_trainings_at_once_one_draws_on_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("CI", raising=False)
    with show_progress() as first, show_progress() as second:
        second(Progress("train", 1, 2, {"loss": 1.0}))
        assert "training g and D" in capsys.readouterr().err
        first(Progress("fit", 1, 2))
    with show_progress() as third:
        assert type(third) is type(first) is not type(second)


def test_only_the_main_process_shows_progress(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with show_progress(True) as listener:
        listener(Progress("train", 1, 2, {"loss": 1.0}))
    assert capsys.readouterr().err == ""


def test_a_bare_function_is_a_listener_and_so_are_several(tmp_path, finished):
    heard, also_heard = [], []
    Session.start("cpu", listeners=heard.append).progress(1, 2)
    Session.start("cpu", listeners=[heard.append, also_heard.append]).progress(2, 2)
    assert [report.step for report in heard] == [1, 2] and also_heard == heard[1:]
    train(tiny_recipe(tmp_path), tmp_path / "run", device="cpu", listeners=heard.append)
    assert heard[-1].phase == "evaluate"
    load(finished, listeners=also_heard.append).evaluate()
    assert also_heard[-1].phase == "evaluate"


@pytest.mark.parametrize("wrong", ["print", 3, (print, None)])
def test_what_is_no_function_is_refused_in_one_sentence(finished, wrong):
    with pytest.raises(DomtransError, match=r"a listener is a function that gets every Progress, not (str|int|NoneType)"):
        load(finished, listeners=wrong)


def test_every_phase_has_a_label_and_a_line_in_the_documentation():
    assert PHASE_LABELS.keys() == set(get_args(Phase))
