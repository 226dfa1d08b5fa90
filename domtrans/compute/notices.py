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
NOTICE, READERS, DONE = "notice", "readers", "done"


class Notices:
    """The first notice that any process posts, in all processes within a second.

    A process that waits for the others in a collective runs no Python code. This thread still learns that another process
    was asked to stop, sets the event here, and knows later why the connection was lost.

    The main process keeps the store. It leaves last: once a process knows a notice, only its thread uses the store, and says
    when it has finished.

    Args:
        store: The key-value store of the processes, with keys of its own for every object of this class.
        rank: Number of this process; 0 keeps the store.
        size: Number of processes.
        stop: Set in every process once it is set in one.
    """

    def __init__(self, store: Store, rank: int, size: int, stop: threading.Event) -> None:
        self.store, self.keeps_store, self.size, self.stop = store, rank == 0, size, stop
        self.notice = ""
        """What was posted, as far as this process knows."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="domtrans-notices", daemon=True)
        self._thread.start()

    def leave(self, notice: str) -> None:
        """Post a notice, unless another process was first, and wait until all have read it."""
        with suppress(RuntimeError), self._lock:  # the process that keeps the store has ended
            if not self.notice:
                self.store.compare_set(NOTICE, "", notice)
        if self.keeps_store:
            self._wait_for(DONE, self.size - 1)
        else:
            self._thread.join(LEAVE_SECONDS)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(RuntimeError):  # the process that keeps the store has ended
            while not self._closed.wait(POLL_SECONDS):
                with self._lock:
                    if self.stop.is_set():
                        self.store.compare_set(NOTICE, "", STOPPED)
                    if self.store.check([NOTICE]):
                        self.notice = self.store.get(NOTICE).decode()
                if self.notice:
                    self._pass_on()
                    return

    def _pass_on(self) -> None:
        """Act on the notice, and wait until all have read it."""
        if self.notice == STOPPED:
            self.stop.set()
        self.store.add(READERS, 1)
        if not self.keeps_store:
            self._wait_for(READERS, self.size)
            self.store.add(DONE, 1)

    def _wait_for(self, counter: str, count: int) -> None:
        """Wait until a counter of the store has a value, but not for long, because a process may have been killed."""
        began = time.monotonic()
        with suppress(RuntimeError):
            while self.store.add(counter, 0) < count and time.monotonic() - began < LEAVE_SECONDS:
                if self._closed.wait(POLL_SECONDS / 10):
                    return
