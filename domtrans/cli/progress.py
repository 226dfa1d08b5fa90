"""How a training goes, shown while it goes: bars and trends on a terminal, plain lines elsewhere; all on standard error."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from domtrans.session import Progress

LINE_EVERY, LINE_AFTER = 5.0, 0.05
"""Least time between plain lines: the first, in seconds, or the second, as a share of the time so far, whatever is more.
So an hour of training is some 90 lines in the log of a CI job."""

PHASES = {
    "data": "loading data",
    "fit": "fitting f",
    "adapt": "adapting f",
    "train": "training g and D",
    "evaluate": "evaluating",
    "generate": "transferring",
    "transfer": "transferring",
}
NOTES = 5
"""Notes that stay on the screen; all of them are in metrics.jsonl and the results."""
TOLD_APART = ("step", "seconds", "images_per_second")
NOT_LOSSES = (*TOLD_APART, "data_wait", "damaged", "memory_mb")
HEALTH = "health."
TREND, TREND_WIDTH = "▁▂▃▄▅▆▇", 20
"""Heights that leave a gap to the line above, and how many of them."""
STOPPING = "stopping and saving as soon as this step is done; press Ctrl-C again to abort at once"


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second SIGINT raises KeyboardInterrupt."""
    stop = threading.Event()

    def ask(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def watch(
    stop: threading.Event | None = None, *, quiet: bool = False, verbose: bool = False
) -> Iterator[Callable[[Progress], None]]:
    """A listener that shows progress until the block ends; a step is being taken to its end once ``stop`` is set.

    ``quiet``: it shows nothing. ``verbose``: a plain line for every report with all that it says, on a terminal too.
    """
    stop = stop or threading.Event()
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda progress: None
    elif not verbose and sys.stderr.isatty() and not console.is_dumb_terminal and "CI" not in os.environ:
        bars = Bars(stop)
        with Live(bars, console=console, refresh_per_second=4):
            yield bars
            bars.end()
    else:
        yield Lines(verbose=verbose)


@dataclass
class Phase:
    """How far a phase has come, and how fast."""

    name: str
    step: int = 0
    steps: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    """Every figure's values so far, as far as this process has heard them."""
    began: float = field(default_factory=time.monotonic)
    heard: float = 0.0
    first: int = 0
    ended: float | None = None

    @property
    def label(self) -> str:
        """For people."""
        return PHASES.get(self.name, self.name)

    def hear(self, progress: Progress) -> None:
        """Take in a report. Work inside a phase may count its own, finer steps; those stay when it says it is done."""
        done = progress.step >= progress.steps
        if not done or progress.steps > self.steps:
            self.steps = max(progress.steps, 1)
        self.step, self.heard = self.steps if done else progress.step, time.monotonic()
        self.values = progress.values or self.values
        for name, value in progress.values.items():
            self.history.setdefault(name, []).append(value)

    def clock(self) -> str:
        """Time left while it can be told, else time taken."""
        now = time.monotonic()
        if self.ended is not None:
            return clock(self.ended - self.began)
        if self.step <= self.first or self.step >= self.steps:
            return clock(now - self.began)
        pace = (self.heard - self.began) / (self.step - self.first)
        return f"{clock(max(pace * (self.steps - self.step) - (now - self.heard), 0))} left"

    def speed(self) -> str:
        """Images a second, where the phase tells."""
        rate = self.values.get("images_per_second")
        return "" if rate is None else f"{rate:,.0f} images/s"

    @property
    def is_watched(self) -> bool:
        """Whether the health watch looks at it."""
        return any(name.startswith(HEALTH) for name in self.values)

    def losses(self) -> dict[str, str]:
        """Short names, for people, of what is learnt by."""
        return short_names([name for name in self.values if name not in NOT_LOSSES and not name.startswith(HEALTH)])


class Bars:
    """A bar for every phase so far, and the newest losses under them. Rendered anew by rich four times a second."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.phases: list[Phase] = []
        self.notes: list[str] = []

    def __call__(self, progress: Progress) -> None:
        """Listen."""
        if not self.phases or self.phases[-1].name != progress.phase:
            self.end()
            self.phases.append(Phase(progress.phase, first=progress.step))
        self.phases[-1].hear(progress)
        if progress.note:
            self.notes.append(f"step {progress.step:,}: {progress.note}")

    def end(self) -> None:
        """The last phase is done."""
        if self.phases:
            last = self.phases[-1]
            last.step, last.ended = last.steps, time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is on the screen."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        for width in (9, 10, 14):  # fixed, so that nothing jumps as figures grow
            grid.add_column(justify="right", no_wrap=True, min_width=width)
        for phase in self.phases:
            bar = ProgressBar(total=phase.steps, completed=phase.step, width=20)
            count = f"{phase.step:,}/{phase.steps:,}"
            grid.add_row(Text(phase.label), bar, Text(count), Text(phase.clock()), Text(phase.speed()))
        yield grid
        if self.phases and self.phases[-1].ended is None:
            yield from self._figures(self.phases[-1], with_trends=not options.ascii_only)
        yield from (Text(note, "yellow") for note in self.notes[-NOTES:])
        if self.stop.is_set():
            yield Text(STOPPING, "yellow")

    def _figures(self, phase: Phase, *, with_trends: bool) -> Iterator[RenderableType]:
        """The newest losses, how each has gone so far, and that the watch has nothing to say where it has not."""
        names = phase.losses()
        longest = max(map(len, names.values()), default=0)
        cells = []
        for name, short in names.items():
            drawn = f"{trend(phase.history[name]):<{TREND_WIDTH}}" if with_trends else ""
            cells.append(Text.assemble((f"{short:<{longest}}  ", "dim"), f"{phase.values[name]:<8.3g}", (drawn, "cyan")))
        if cells:
            yield Text()
            yield Columns(cells, padding=(0, 4))
        if phase.is_watched and not self.notes:
            yield Text("health: nothing to report", "dim")


class Lines:
    """A line when a phase begins and then now and again, or for every report; columns stay where they are."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.phase = Phase("")
        self.told = 0.0

    def __call__(self, progress: Progress) -> None:
        """Listen."""
        if self.phase.name != progress.phase:
            self.phase = Phase(progress.phase, first=progress.step)
            self._print(self.phase.label)
        phase = self.phase
        phase.hear(progress)
        if progress.note:
            self._print(f"{phase.label:<16} {phase.step:>7}/{phase.steps:<7} note: {progress.note}")
        news = bool(progress.values) and (self.verbose or phase.step == phase.steps)
        if news or (phase.values and self._is_time()):
            taken = clock(phase.heard - phase.began)
            names = {name: name for name in phase.values if name not in TOLD_APART} if self.verbose else phase.losses()
            losses = "  ".join(f"{shown} {phase.values[name]:<7.3g}" for name, shown in names.items())
            count = f"{phase.step:>7}/{phase.steps:<7}"
            left = phase.clock() if phase.step < phase.steps else ""
            speed = f"{phase.speed():>16}  " if phase.speed() else ""
            self._print(f"{phase.label:<16} {count} {taken:>8} {left:>12}  {speed}{losses}".rstrip())

    def _is_time(self) -> bool:
        now = time.monotonic()
        return now - self.told >= max(LINE_EVERY, LINE_AFTER * (now - self.phase.began))

    def _print(self, line: str) -> None:
        self.told = time.monotonic()
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def clock(seconds: float) -> str:
    """65.2 as 1:05; hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def trend(values: Sequence[float], width: int = TREND_WIDTH) -> str:
    """Values as a line of bars, from the least to the most; means where there are more than ``width``.

    Heights go by logarithms where all are positive: losses fall by powers of ten, most of it in the first steps.
    """
    parts = min(len(values), width)
    cuts = [part * len(values) // parts for part in range(parts + 1)] if parts else []
    means = [sum(values[first:last]) / (last - first) for first, last in pairwise(cuts)]
    known = [value for value in means if math.isfinite(value)]
    if not known:
        return ""
    known = [math.log(value) for value in known] if min(known) > 0 else known
    least, most = min(known), max(known)
    heights = [(value - least) / (most - least) if most > least else 0.5 for value in known]
    return "".join(TREND[min(int(height * len(TREND)), len(TREND) - 1)] for height in heights)


def short_names(names: list[str]) -> dict[str, str]:
    """``generator.const`` as const; D's only loss as D, several as D.gan, ..."""
    judged = [name for name in names if name.startswith("discriminator.")]
    short = {name: name.removeprefix("generator.") for name in names}
    for name in judged:
        short[name] = "D" if len(judged) == 1 else f"D.{name.removeprefix('discriminator.')}"
    return short
