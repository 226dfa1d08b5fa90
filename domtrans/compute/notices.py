"""What processes that train together tell one another outside of the collectives: that one was asked to stop, or failed."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from torch.distributed.distributed_c10d import Store

STOPPED, FAILED = "stopped", "failed"
"""The notices: a process was asked to stop; a process has an error, which it prints itself."""

POLL_SECONDS = 0.5
LEAVE_SECONDS = 10.0
"""How long a process that leaves waits for the others to read its notice."""
NOTICE, READERS = "notice", "readers"


class Notices:
    """The first notice that any process posts, in all processes within a second.

    A process that waits for the others in a collective runs no Python code. This thread still learns that another process
    was asked to stop, sets the event here, and knows later why the connection was lost.

    Args:
        store: The key-value store of the processes, with keys of its own for every object of this class.
        size: Number of processes.
        stop: Set in every process once it is set in one.
    """

    def __init__(self, store: Store, size: int, stop: threading.Event) -> None:
        self.store, self.size, self.stop = store, size, stop
        self.notice = ""
        """What was posted, as far as this process knows."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="domtrans-notices", daemon=True)
        self._thread.start()

    def leave(self, notice: str) -> None:
        """Post a notice, unless another process was first, and wait until all have read it.

        The process that keeps the store ends after this, and what nobody has read by then is lost.
        """
        began = time.monotonic()
        with suppress(RuntimeError):  # the process that keeps the store has ended
            self.store.compare_set(NOTICE, "", notice)
            while self.store.add(READERS, 0) < self.size and time.monotonic() - began < LEAVE_SECONDS:
                time.sleep(POLL_SECONDS / 10)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(RuntimeError):  # the process that keeps the store has ended
            while not self._closed.wait(POLL_SECONDS):
                if self.stop.is_set():
                    self.store.compare_set(NOTICE, "", STOPPED)
                if self.store.check([NOTICE]):
                    self.notice = self.store.get(NOTICE).decode()
                    if self.notice == STOPPED:
                        self.stop.set()
                    self.store.add(READERS, 1)
                    return
