"""How a training goes, shown while it goes: bars on a terminal, plain lines elsewhere. All of it on standard error."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from domtrans.session import Progress

LINE_EVERY = 5.0
"""Seconds between plain lines, at least."""

PHASES = {
    "data": "loading data",
    "fit": "fitting f",
    "adapt": "adapting f",
    "train": "training g and D",
    "evaluate": "evaluating",
    "generate": "transferring",
}
NOTES = 5
"""Notes that stay on the screen; all of them are in metrics.jsonl and the results."""
NOT_LOSSES = ("step", "seconds", "images_per_second", "data_wait", "damaged", "memory_mb")
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
def watch(stop: threading.Event | None = None, *, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A listener that shows progress until the block ends; a step is being taken to its end once ``stop`` is set."""
    stop = stop or threading.Event()
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty() and not console.is_dumb_terminal and "CI" not in os.environ:
        bars = Bars(stop)
        with Live(bars, console=console, refresh_per_second=4):
            yield bars
            bars.end()
    else:
        yield Lines()


@dataclass
class Phase:
    """How far a phase has come, and how fast."""

    name: str
    step: int = 0
    steps: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
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

    def losses(self) -> dict[str, str]:
        """Values by short name, ready to print."""
        values = {name: v for name, v in self.values.items() if name not in NOT_LOSSES and not name.startswith("health.")}
        short = short_names(list(values))
        return {short[name]: f"{value:.3g}" for name, value in values.items()}


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

    def __rich__(self) -> RenderableType:
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
        lines: list[RenderableType] = [grid]
        losses = self.phases[-1].losses() if self.phases else {}
        if losses and self.phases[-1].ended is None:
            text = Text()
            for name, value in losses.items():
                # A no-break space keeps a name with its value where the line must break.
                text.append(f"{name}\u00a0", "dim").append(f"{value:<6}  ")
            lines.append(text)
        lines += [Text(note, "yellow") for note in self.notes[-NOTES:]]
        if self.stop.is_set():
            lines.append(Text(STOPPING, "yellow"))
        return Group(*lines)


class Lines:
    """A line when a phase begins and then one every few seconds; columns stay where they are."""

    def __init__(self) -> None:
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
        finished = phase.step == phase.steps and bool(progress.values)
        if phase.values and (finished or time.monotonic() - self.told >= LINE_EVERY):
            taken = clock(phase.heard - phase.began)
            losses = "  ".join(f"{name} {value:<7}" for name, value in phase.losses().items())
            count = f"{phase.step:>7}/{phase.steps:<7}"
            left = phase.clock() if phase.step < phase.steps else ""
            speed = f"{phase.speed():>16}  " if phase.speed() else ""
            self._print(f"{phase.label:<16} {count} {taken:>8} {left:>12}  {speed}{losses}".rstrip())

    def _print(self, line: str) -> None:
        self.told = time.monotonic()
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def clock(seconds: float) -> str:
    """65.2 as 1:05; hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def short_names(names: list[str]) -> dict[str, str]:
    """``generator.const`` as const; D's only loss as D, several as D.gan, ..."""
    judged = [name for name in names if name.startswith("discriminator.")]
    short = {name: name.removeprefix("generator.") for name in names}
    for name in judged:
        short[name] = "D" if len(judged) == 1 else f"D.{name.removeprefix('discriminator.')}"
    return short
