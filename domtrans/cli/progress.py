"""Progress on standard error: bars and loss trends on a terminal, plain lines in a pipe, a file or CI."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from rich import progress as rich_progress
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from domtrans.session import Progress

MIN_LINE_SECONDS, MIN_LINE_SHARE = 5.0, 0.05
"""Time between plain lines: at least these seconds, and at least this share of the time so far.
An hour of training writes about 90 lines into the log of a CI job."""

PHASE_LABELS = {
    "data": "loading data",
    "inspect": "reading images",
    "fit": "fitting f",
    "adapt": "adapting f",
    "oracle": "fitting the oracle",
    "train": "training g and D",
    "evaluate": "evaluating",
    "generate": "transferring",
    "transfer": "transferring",
}
MAX_NOTES = 5
"""Notes that stay on the screen; metrics.jsonl and the results keep all of them."""
SPEED_WINDOW_SECONDS = 600
"""The remaining time is estimated from the reports of this period; slow trainings report about once a minute."""
SHOWN_APART = ("step", "seconds", "images_per_second")
NOT_LOSSES = (*SHOWN_APART, "data_wait", "damaged", "memory_mb")
HEALTH = "health."
TREND_BARS, TREND_WIDTH = "▁▂▃▄▅▆▇", 20
"""Bar heights, which leave a gap to the line above, and the number of bars."""
STOPPING = "stopping after this step; everything is saved first; press Ctrl-C again to abort at once"


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second SIGINT raises KeyboardInterrupt."""
    stop = threading.Event()

    def handle(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def watch(
    stop: threading.Event | None = None, *, quiet: bool = False, verbose: bool = False
) -> Iterator[Callable[[Progress], None]]:
    """Yield a listener that shows progress until the block ends.

    Args:
        stop: Once it is set, the screen says that the run stops after the present step.
        quiet: Show nothing.
        verbose: Print a plain line with all values for every report, on a terminal too.
    """
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda report: None
    elif not verbose and sys.stderr.isatty() and not console.is_dumb_terminal and "CI" not in os.environ:
        bars = Bars(stop or threading.Event(), console)
        try:
            yield bars
            bars.finish_phase()
        finally:
            bars.stop()
    else:
        yield Lines(verbose=verbose)


@dataclass
class Phase:
    """The newest report of a phase, and every value reported so far."""

    name: str
    step: int = 0
    steps: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name for people."""
        return PHASE_LABELS.get(self.name, self.name)

    def update(self, report: Progress) -> None:
        """Take in a report. Work inside a phase may count finer steps; those stay when the phase reports its end."""
        done = report.step >= report.steps
        if not done or report.steps > self.steps:
            self.steps = max(report.steps, 1)
        self.step = self.steps if done else report.step
        for name, value in report.values.items():  # before the values: the screen is drawn by another thread
            self.history.setdefault(name, []).append(value)
        self.values = report.values or self.values

    def speed(self) -> str:
        """Images per second, if the phase reports them."""
        rate = self.values.get("images_per_second")
        return "" if rate is None else f"{rate:,.0f} images/s"

    def has_health(self) -> bool:
        """Whether the health watch checks this phase."""
        return any(name.startswith(HEALTH) for name in self.values)

    def losses(self) -> dict[str, str]:
        """Short names of the losses, by full name."""
        return short_names([name for name in self.values if name not in NOT_LOSSES and not name.startswith(HEALTH)])


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
        self.phase: Phase | None = None
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
            refresh_per_second=4,
            speed_estimate_period=SPEED_WINDOW_SECONDS,
        )

    def __call__(self, report: Progress) -> None:
        """Show a report."""
        self.start()  # with the first report, so that an error before it leaves no empty line
        if self.phase is None or self.phase.name != report.phase:
            self.finish_phase()
            self.phase = Phase(report.phase)
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

    def _losses(self, phase: Phase) -> Iterator[RenderableType]:
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


class Lines:
    """A listener: one line when a phase begins and then from time to time, or for every report; columns stay aligned."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.phase = Phase("")
        self.phase_start = self.last_line = 0.0
        self.first_step = 0

    def __call__(self, report: Progress) -> None:
        """Print a line if it is time."""
        if self.phase.name != report.phase:
            self.phase, self.phase_start, self.first_step = Phase(report.phase), time.monotonic(), report.step
            self._print(self.phase.label)
        phase = self.phase
        phase.update(report)
        if report.note:
            self._print(f"{phase.label:<16} {phase.step:>7}/{phase.steps:<7} note: {report.note}")
        wanted = bool(report.values) and (self.verbose or phase.step == phase.steps)
        if wanted or (phase.values and self._is_time()):
            names = {name: name for name in phase.values if name not in SHOWN_APART} if self.verbose else phase.losses()
            losses = "  ".join(f"{short} {phase.values[name]:<7.3g}" for name, short in names.items())
            count = f"{phase.step:>7}/{phase.steps:<7}"
            speed = f"{phase.speed():>16}  " if phase.speed() else ""
            elapsed = clock(time.monotonic() - self.phase_start)
            self._print(f"{phase.label:<16} {count} {elapsed:>8} {self._left():>12}  {speed}{losses}".rstrip())

    def _left(self) -> str:
        """The remaining time at the mean pace so far."""
        done, remaining = self.phase.step - self.first_step, self.phase.steps - self.phase.step
        return f"{clock((time.monotonic() - self.phase_start) * remaining / done)} left" if done > 0 and remaining > 0 else ""

    def _is_time(self) -> bool:
        now = time.monotonic()
        return now - self.last_line >= max(MIN_LINE_SECONDS, MIN_LINE_SHARE * (now - self.phase_start))

    def _print(self, line: str) -> None:
        self.last_line = time.monotonic()
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def clock(seconds: float) -> str:
    """65.2 as 1:05; with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


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


def short_names(names: list[str]) -> dict[str, str]:
    """``generator.const`` as const; D's only loss as D, several as D.gan, ..."""
    of_discriminator = [name for name in names if name.startswith("discriminator.")]
    short = {name: name.removeprefix("generator.") for name in names}
    for name in of_discriminator:
        short[name] = "D" if len(of_discriminator) == 1 else f"D.{name.removeprefix('discriminator.')}"
    return short
