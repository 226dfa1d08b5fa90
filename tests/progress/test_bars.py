"""The progress of a training: trends and health on a terminal, plain lines in pipes and in CI."""

import io
import os
import pty
import re
import sys
import threading

import pytest
from rich.console import Console

from domtrans.cli.shared import run_context
from domtrans.progress import lines as lines_module
from domtrans.progress.bars import TREND_WIDTH, Bars, trend
from domtrans.progress.lines import Lines
from domtrans.session import Progress
from processes import run

VALUES = {"generator.const": 0.5, "health.surprise": 0.7, "images_per_second": 400.0, "memory_mb": 80.0}
TRAINING = """
from types import SimpleNamespace
from domtrans.progress.display import show_progress
with show_progress() as listener:
    for step in range(5):
        listener(SimpleNamespace(phase="train", step=step, steps=4, values={"generator.const": 5.0 - step}, note=""))
"""


@pytest.fixture
def bars():
    """Bars on a screen in memory, after three reports of a training."""
    return bars_on(io.StringIO())


def bars_on(file):
    bars = Bars(threading.Event(), Console(width=100, file=file, force_terminal=True))
    seconds = 0.0
    bars.live.auto_refresh, bars.get_time = False, lambda: seconds
    for step, const in enumerate((8.0, 2.0, 0.5)):
        seconds += 0.1
        bars(Progress("train", step, 10, VALUES | {"generator.const": const}))
    return bars


def on_screen(bars):
    """The text of the bars, without colours."""
    bars.stop()
    before = bars.console.file.tell()
    bars.console.print(bars)
    return re.sub("\x1b\\[[0-9;]*m", "", bars.console.file.getvalue()[before:])


def test_a_loss_is_shown_with_its_trend_and_health_is_named_if_nothing_is_wrong(bars):
    shown = on_screen(bars)
    assert re.search("const +0.5 +▇▄▁ ", shown), "logarithmic: 8 is as far above 2 as 2 above 0.5"
    assert "health: nothing to report" in shown and "80" not in shown
    bars(Progress("train", 3, 10, VALUES, note="D wins: try something"))
    shown = on_screen(bars)
    assert "nothing to report" not in shown and "step 3: D wins" in shown


def test_a_phase_shows_the_time_left_and_then_the_time_that_it_took(bars):
    assert re.search("training g and D +━[^\n]* 2/10 +00:0. left +400 images/s", on_screen(bars))
    bars(Progress("evaluate", 0, 2))
    lines = on_screen(bars).splitlines()
    assert re.search("training g and D +━+ +10/10 +00:0. +400 images/s", lines[0]), "filled when the next phase begins"
    assert re.search("evaluating .* 0/2 +--:-- left", lines[1])


def test_a_resumed_run_is_timed_by_the_steps_of_this_process():
    now = [0.0]
    bars = Bars(threading.Event(), Console(file=io.StringIO(), force_terminal=True))
    bars.live.auto_refresh, bars.get_time = False, lambda: now[0]
    for step in (500, 510, 520):
        bars(Progress("train", step, 1000))
        now[0] += 10
    bars.stop()
    assert bars.tasks[0].time_remaining == 480


def test_a_stop_is_announced(bars):
    bars.stop_event.set()
    assert "press Ctrl-C again" in on_screen(bars)


def test_no_trends_where_the_terminal_cannot_draw_them():
    class Ascii(io.StringIO):
        encoding = "ascii"

    shown = on_screen(bars_on(Ascii()))
    assert shown.isascii() and "const" in shown


def test_the_result_goes_to_standard_output_after_bars_were_shown(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("CI", raising=False)
    with run_context() as context:
        context.listener(Progress("train", 1, 2))
        sys.stdout.write("chatter of a plugin\n")
    sys.stdout.write("result\n")
    captured = capsys.readouterr()
    assert captured.out == "result\n" and "chatter of a plugin" in captured.err and "training g and D" in captured.err


def test_a_trend_has_a_width_and_takes_any_values():
    assert trend([]) == trend([float("nan")]) == ""
    assert len(trend([1.0])) == 1 and len(set(trend([3.0, 3.0]))) == 1
    assert len(trend([float(step) for step in range(1, 1000)])) == TREND_WIDTH
    assert trend([0.0, -1.0, 1.0, float("inf")]) == "▄▁▇"


def test_plain_lines_become_rarer_with_time(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(lines_module.time, "monotonic", lambda: now[0])
    lines = Lines()
    for step in range(3600):
        now[0] = step
        lines(Progress("train", step, 10_000, VALUES))
    printed = capsys.readouterr().err.splitlines()
    assert 60 < len(printed) < 120 and "surprise" not in printed[-1]


def test_verbose_lines_leave_nothing_out(capsys):
    lines = Lines(verbose=True)
    for step in (1, 2):
        lines(Progress("train", step, 2, VALUES))
    lines(Progress("train", 2, 2))
    _, *printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 2
    for figure in ("generator.const 0.5", "health.surprise 0.7", "memory_mb 80", "400 images/s"):
        assert figure in printed[0]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("setting", "bars", "colours"), [("", True, True), ("NO_COLOR", True, False), ("CI", False, False)])
def test_a_terminal_gets_bars_in_the_colours_it_wants_and_ci_gets_lines(setting, bars, colours):
    leader, follower = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "20", "NO_COLOR": None, "CI": None}
    assert run("-c", TRAINING, stderr=follower, env=terminal | ({setting: "1"} if setting else {})).returncode == 0
    os.close(follower)
    with os.fdopen(leader, "rb") as screen:
        shown = screen.read1(1 << 16).decode()
    assert "training g and D" in shown
    assert ("━" in shown, "\x1b[38;5;" in shown) == (bars, colours)
    assert bars or "\x1b" not in shown
