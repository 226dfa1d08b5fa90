"""Stop on a signal or after a time limit: after the present step, with everything saved."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from domtrans.compute.stop_signals import STOP_SIGNALS
from domtrans.errors import DomtransError

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class StopRequest(threading.Event):
    """An event that stops the work once it is set, and why it was set."""

    reason = ""

    def request(self, reason: str) -> None:
        """Set the event. The first reason counts."""
        self.reason = self.reason or reason
        self.set()

    def explain(self, sentence: str) -> str:
        """Add the reason to a sentence about the stop."""
        return f"{sentence} ({self.reason})" if self.reason else sentence


@contextmanager
def stop_on_signals(max_time: str | None = None) -> Iterator[StopRequest]:
    """An event that the first stop signal sets, or the end of a time limit. The second SIGINT raises KeyboardInterrupt.

    Args:
        max_time: The time limit, as ``parse_duration`` takes it.
    """
    stop, interrupted = StopRequest(), False

    def handle(number: int, _: object) -> None:
        nonlocal interrupted
        if number == signal.SIGINT and interrupted:
            raise KeyboardInterrupt
        interrupted = interrupted or number == signal.SIGINT
        stop.request(signal.Signals(number).name)

    with ExitStack() as block:
        if max_time is not None:
            timer = threading.Timer(parse_duration(max_time), stop.request, [f"--max-time {max_time}"])
            timer.daemon = True
            timer.start()
            block.callback(timer.cancel)
        for number in STOP_SIGNALS:
            if number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN:
                continue  # under nohup, the work goes on after the terminal is closed
            block.callback(signal.signal, number, signal.signal(number, handle))
        block.enter_context(_heard_at_once(stop))
        yield stop


@contextmanager
def _heard_at_once(stop: StopRequest) -> Iterator[None]:
    """Sets the event even if the main thread waits inside a library, e.g. for another process.

    Python runs handlers between two steps of its own code only, but writes the number of a signal to a socket at once.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def read() -> None:
        while numbers := reader.recv(16):
            for number in set(numbers).intersection(STOP_SIGNALS):
                stop.request(signal.Signals(number).name)

    thread = threading.Thread(target=read, name="domtrans-signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``55m``, ``2h`` or ``1h30m``.

    Raises:
        DomtransError: For anything else, and for more seconds than a thread can wait.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not seconds:
        raise DomtransError(f"'{text}' is not a duration; write e.g. 55m, 2h or 1h30m (s, m, h and d are units)")
    if seconds > threading.TIMEOUT_MAX:
        longest = int(threading.TIMEOUT_MAX // UNIT_SECONDS["d"])
        raise DomtransError(f"the duration '{text}' is too long; the longest is {longest}d")
    return seconds
