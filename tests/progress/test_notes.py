"""Notes of the engine: a line in a pipe, under the bars on a terminal."""

import io
import threading

from rich.console import Console

from domtrans.progress.bars import MAX_NOTES, Bars
from domtrans.progress.lines import Lines
from domtrans.session import Progress


def test_a_note_is_a_line_of_its_own(capsys):
    lines = Lines()
    lines(Progress("train", 0, 100))
    lines(Progress("train", 40, 100, note="D wins: try something"))
    assert "40/100     note: D wins: try something" in capsys.readouterr().err


def test_the_newest_notes_stay_under_the_bars_and_health_values_do_not_show():
    console = Console(width=100, file=io.StringIO())
    bars = Bars(threading.Event(), console)
    for step in range(MAX_NOTES + 2):
        bars(Progress("train", step, 100, {"generator.const": 0.5, "health.surprise": 0.7}, note=f"note {step}"))
    bars.stop()
    shown = console.file.getvalue()
    assert "step 6: note 6" in shown and "note 1" not in shown and "const" in shown and "surprise" not in shown
