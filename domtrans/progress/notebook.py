"""Progress bars in the output of a notebook cell."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from rich import get_console

from domtrans.progress.bars import Bars

if TYPE_CHECKING:
    from domtrans.session import Progress

UPDATE_SECONDS = 0.5
"""Time between two updates of the output, which the browser draws again each time."""


class NotebookBars(Bars):
    """A listener: the bars of a terminal as HTML. rich's own live display would need ipywidgets here."""

    def __init__(self) -> None:
        super().__init__(threading.Event(), get_console())
        self.output: Any = None
        """The handle of the output in the cell."""
        self.last_update = 0.0

    def __call__(self, report: Progress) -> None:
        """Show a report."""
        before = self.phase
        super().__call__(report)
        if self.phase is not before or report.note or self.get_time() - self.last_update >= UPDATE_SECONDS:
            self._show()

    def start(self) -> None:
        """Called with every report. Nothing draws the bars in the background."""

    def stop(self) -> None:
        """Show the last state."""
        if self.output is not None:
            self._show()

    def _show(self) -> None:
        self.last_update = self.get_time()
        if self.output is None:
            self.output = sys.modules["IPython"].display.display(self, display_id=True)
        else:
            self.output.update(self)
