"""Which form progress has here: bars on a terminal or in a notebook, plain lines, or nothing."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from domtrans.compute import launcher
from domtrans.progress.lines import Lines
from domtrans.session import Listener, Listeners, Progress, Session, as_listeners

if TYPE_CHECKING:
    from rich.console import Console

    from domtrans.progress.bars import Bars

TERMINAL = threading.Lock()
"""Held by the bars on the terminal. If two threads train at once, the second prints lines above the bars of the first."""


@contextmanager
def show_progress(
    show: bool | None = None, *, verbose: bool = False, stop: threading.Event | None = None
) -> Iterator[Listener]:
    """A block with a listener that shows progress.

    ``train`` and other long calls show their own progress; this is for calls that only take listeners::

        with domtrans.show_progress() as listener:
            session = domtrans.Session.start(listeners=listener)

    Progress is written to standard error: as bars on a terminal, as plain lines in a pipe, a file or CI. A notebook gets bars
    below the cell. Of several processes that train together, only the first shows anything.

    Args:
        show: True: always. None: on a terminal and in a notebook only. False: never.
        verbose: Print a plain line with all values for every report, on a terminal too.
        stop: Once it is set, bars on a terminal say that the work stops after the present step, and that Ctrl-C aborts it.

    Yields:
        The listener, for calls inside the block.
    """
    if show is False or launcher.rank() > 0:
        yield _ignore
        return
    from rich.console import Console  # not at the top: a transfer of one picture should not wait for it

    from domtrans.progress.bars import Bars
    from domtrans.progress.notebook import NotebookBars

    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    console = Console(stderr=True, highlight=False)
    if show is None and not (on_terminal or console.is_jupyter):
        yield _ignore
    elif console.is_jupyter:
        with _until_the_end(NotebookBars()) as bars:
            yield bars
    elif not verbose and on_terminal and _is_interactive(console) and TERMINAL.acquire(blocking=False):
        try:
            with _until_the_end(Bars(stop or threading.Event(), console)) as bars:
                yield bars
        finally:
            TERMINAL.release()
    else:
        yield Lines(verbose=verbose)


@contextmanager
def with_display(listeners: Listeners, show: bool | None) -> Iterator[tuple[Listener, ...]]:
    """A block with the caller's listeners and one that shows progress; see ``show_progress``."""
    given = as_listeners(listeners)
    with show_progress(show) as display:
        yield (*given, display)


@contextmanager
def session_with_display(session: Session, show: bool | None) -> Iterator[Session]:
    """A block with a session that also shows progress; see ``show_progress``."""
    with with_display(session.listeners, show) as listeners:
        yield replace(session, listeners=listeners)


@contextmanager
def _until_the_end(bars: Bars) -> Iterator[Bars]:
    """Fill the last bar if the block ends well, and stop drawing in any case."""
    try:
        yield bars
        bars.finish_phase()
    finally:
        bars.stop()


def _is_interactive(terminal: Console) -> bool:
    """Whether somebody watches the terminal, and it can draw over what it shows."""
    return not terminal.is_dumb_terminal and "CI" not in os.environ


def _ignore(_: Progress) -> None:
    """The listener that shows nothing."""
