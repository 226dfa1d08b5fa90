"""Progress as plain lines, for a pipe, a file or CI."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from domtrans.progress.phase import SHOWN_APART, RunningPhase

if TYPE_CHECKING:
    from domtrans.session import Progress

MIN_LINE_SECONDS, MIN_LINE_SHARE = 5.0, 0.05
"""Time between plain lines: at least these seconds, and at least this share of the time so far.
An hour of training writes about 90 lines into the log of a CI job."""


class Lines:
    """A listener: one line when a phase begins and then from time to time, or for every report; columns stay aligned."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.phase = RunningPhase()
        self.phase_start = self.last_line = 0.0
        self.first_step = 0

    def __call__(self, report: Progress) -> None:
        """Print a line if it is time."""
        if self.phase.name != report.phase:
            self.phase, self.phase_start, self.first_step = RunningPhase(report.phase), time.monotonic(), report.step
            self._print(self.phase.label)
        phase = self.phase
        phase.update(report)
        if report.note:
            self._print(f"{phase.label:<16} {phase.step:>7}/{phase.steps:<7} note: {report.note}")
        wanted = bool(report.values) and (self.verbose or phase.step == phase.steps)
        if wanted or self._is_time():
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
