"""Progress bars and the trends of losses on a terminal."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rich import progress as rich_progress
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from domtrans.progress.phase import RunningPhase

if TYPE_CHECKING:
    from domtrans.session import Progress

MAX_NOTES = 5
"""Notes that stay on the screen; metrics.jsonl and the results keep all of them."""
SPEED_WINDOW_SECONDS = 600
"""The remaining time is estimated from the reports of this period; slow trainings report about once a minute."""
TREND_BARS, TREND_WIDTH = "▁▂▃▄▅▆▇", 20
"""Bar heights, which leave a gap to the line above, and the number of bars."""
STOPPING = "stopping after this step; everything is saved first; press Ctrl-C again to abort at once"


class TimeColumn(TimeRemainingColumn):
    """``00:42 left`` while a phase runs, then the time that it took."""

    def render(self, task: rich_progress.Task) -> Text:
        """Called by rich, at most twice a second while the phase runs."""
        shown = super().render(task)
        return shown if task.finished else shown.append(" left")


class Bars(rich_progress.Progress):
    """A listener: one bar per phase, and under them the newest losses of the running phase with their trends."""

    def __init__(self, stop: threading.Event, console: Console | None = None) -> None:
        self.stop_event = stop
        self.phase: RunningPhase | None = None
        """The phase that runs."""
        self.notes: list[str] = []
        self.data_notes: list[str] = []
        """What the data is and lacks, which says nothing about the training."""

        def right(width: int) -> Column:  # a fixed width, so that nothing moves as numbers grow
            return Column(justify="right", no_wrap=True, min_width=width)

        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(table_column=right(11)),
            TimeColumn(compact=True, elapsed_when_finished=True, table_column=right(10)),
            TextColumn("{task.fields[speed]}", markup=False, table_column=right(14)),
            console=console,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # what goes to a file or a pipe stays there
            refresh_per_second=4,
            speed_estimate_period=SPEED_WINDOW_SECONDS,
        )

    def __call__(self, report: Progress) -> None:
        """Show a report."""
        self.start()  # with the first report, so that an error before it leaves no empty line
        if self.phase is None or self.phase.name != report.phase:
            self.finish_phase()
            self.phase = RunningPhase(report.phase)
            # A resumed run starts in the middle; the steps before are no work of this process.
            self.add_task(self.phase.label, total=max(report.steps, 1), completed=report.step, speed="")
        self.phase.update(report)
        self.update(self.task_ids[-1], total=self.phase.steps, completed=self.phase.step, speed=self.phase.speed())
        if report.note and report.phase == "data":
            self.data_notes.append(report.note)
        elif report.note:
            self.notes.append(f"step {report.step:,}: {report.note}")

    def finish_phase(self) -> None:
        """Fill the bar of the running phase."""
        if self.phase is not None:
            self.update(self.task_ids[-1], completed=self.phase.steps)
            self.phase = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Called by rich for what is on the screen."""
        yield self.make_tasks_table(self.tasks)
        if (phase := self.phase) is not None:
            yield from self._losses(phase)
        yield from map(Text, self.data_notes[-MAX_NOTES:])
        yield from (Text(note, "yellow") for note in self.notes[-MAX_NOTES:])
        if self.stop_event.is_set():
            yield Text(STOPPING, "yellow")

    def _losses(self, phase: RunningPhase) -> Iterator[RenderableType]:
        """The newest losses with their trends, and that the health watch has nothing to report if so."""
        names, with_trends = phase.losses(), not self.console.options.ascii_only
        longest = max(map(len, names.values()), default=0)
        cells = []
        for name, short in names.items():
            bars = f"{trend(phase.history[name]):<{TREND_WIDTH}}" if with_trends else ""
            cells.append(Text.assemble((f"{short:<{longest}}  ", "dim"), f"{phase.values[name]:<8.3g}", (bars, "cyan")))
        if cells:
            yield Text()
            yield Columns(cells, padding=(0, 4))
        if phase.has_health() and not self.notes:
            yield Text("health: nothing to report", "dim")


def trend(values: Sequence[float], width: int = TREND_WIDTH) -> str:
    """Values as a line of bars, scaled from the lowest to the highest; means if there are more than ``width``.

    The scale is logarithmic if all values are positive: losses fall by powers of ten, most of it in the first steps.
    """
    parts = min(len(values), width)
    edges = [part * len(values) // parts for part in range(parts + 1)] if parts else []
    means = [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
    finite = [value for value in means if math.isfinite(value)]
    if not finite:
        return ""
    finite = [math.log(value) for value in finite] if min(finite) > 0 else finite
    lowest, highest = min(finite), max(finite)
    heights = [(value - lowest) / (highest - lowest) if highest > lowest else 0.5 for value in finite]
    return "".join(TREND_BARS[min(int(height * len(TREND_BARS)), len(TREND_BARS) - 1)] for height in heights)
