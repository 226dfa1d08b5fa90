"""Worker processes behind pipes, for work that takes a CPU core each: decoding and rendering.

A worker inherits no locks, no CUDA context and no main module. It takes 30 MB, a tenth of a process with torch, and unpickles
nothing. It ends when its input closes, so it also ends when its parent is killed.

A message in either direction is a line of JSON, followed by raw bytes where the two sides agree on that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

from domtrans.compute.stop_signals import STOP_SIGNALS
from domtrans.errors import DomtransError

Response = TypeVar("Response")


class WorkerPool:
    """Worker processes that run one module. They start when first needed; a thread waits at the pipe of each.

    Args:
        module: The module to run. As a program, it calls ``serve_parent``.
        count: Processes at most.
        task: What they do, one word for error messages.
        advice: How to continue when they keep ending, for error messages.
        setup: The first message to every new process, before any request.
    """

    def __init__(self, module: str, count: int, *, task: str, advice: str, setup: Mapping[str, Any] | None = None) -> None:
        self.module, self.count, self.task, self.advice, self.setup = module, count, task, advice, setup
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        """The running processes, by the thread that each belongs to."""
        self._threads = ThreadPoolExecutor(count, "domtrans-worker")
        self._end_processes = weakref.finalize(self, _end_all, self.processes)

    def submit(
        self, request: Mapping[str, Any] | Callable[[], Mapping[str, Any]], receive: Callable[[BinaryIO], Response]
    ) -> Future[Response]:
        """Send a request to a free process.

        Args:
            request: Plain values, as JSON has them; or a function that returns them, which is called in a thread.
            receive: Reads the whole response from the pipe; raises EOFError if it is cut short.

        Returns:
            What ``receive`` returns. The future raises DomtransError if the process ends twice without a response.
        """
        return self._threads.submit(self._exchange, request, receive)

    def map(
        self, requests: Iterable[Mapping[str, Any]], receive: Callable[[BinaryIO], Response]
    ) -> Generator[Response, None, None]:
        """The responses to all requests, in order. A slow consumer stops the workers after two responses each."""
        pending: deque[Future[Response]] = deque()
        for request in requests:
            pending.append(self.submit(request, receive))
            if len(pending) > 2 * self.count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Cancel waiting requests, wait for those in progress, and end the processes."""
        self._threads.shutdown(cancel_futures=True)
        self._end_processes()

    def _exchange(
        self, request: Mapping[str, Any] | Callable[[], Mapping[str, Any]], receive: Callable[[BinaryIO], Response]
    ) -> Response:
        """One request and its response, by the process of this thread."""
        thread, message = threading.get_ident(), request() if callable(request) else request
        for _ in range(2):  # the system may kill a process when memory is short: retry once with a new one
            is_new = thread not in self.processes
            if is_new:  # outside of the try: where no process could start, there is none to end
                self.processes[thread] = start(self.module)
            process = self.processes[thread]
            try:
                if is_new and self.setup is not None:
                    send(_pipe(process.stdin), self.setup)
                send(_pipe(process.stdin), message)
                return receive(_pipe(process.stdout))
            except (BrokenPipeError, EOFError, ValueError):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)  # killed at once, it would lose its own exit code
                end(self.processes.pop(thread))
            except BaseException:
                end(self.processes.pop(thread))  # unread bytes may be left in its pipe
                raise
        raise DomtransError(
            f"a {self.task} process ended twice, the last time with exit code {process.returncode}; {self.advice}"
        )


def start(module: str) -> subprocess.Popen[bytes]:
    """Run ``python -m module`` with pipes as its standard input and output; the module calls ``serve_parent``."""
    # The parent's import path, and without the current folder (-P).
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process."""
    with suppress(BrokenPipeError), process:  # closing the pipe flushes half-written requests
        process.kill()


def send(pipe: BinaryIO, message: Any, content: bytes | memoryview = b"") -> None:
    """Write a message and the raw bytes that follow it."""
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.write(content)
    pipe.flush()


def receive_message(pipe: BinaryIO) -> Any:
    """Read a message. Raises EOFError if the other side has ended."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return json.loads(line)


def receive_bytes(pipe: BinaryIO, count: int) -> bytes:
    """Read raw bytes. Raises EOFError if the other side ended before it had sent them all."""
    content = pipe.read(count)
    if len(content) < count:
        raise EOFError
    return content


def receive_into(pipe: BinaryIO, buffer: memoryview) -> None:
    """Read raw bytes into a buffer, without a copy. Raises EOFError like ``receive_bytes``."""
    if pipe.readinto(buffer) < len(buffer):  # type: ignore[attr-defined]
        raise EOFError


def serve_parent(serve: Callable[[Iterator[Any], BinaryIO], None]) -> None:
    """In the worker: call ``serve`` with the requests, until there are no more, and the pipe for the responses."""
    for number in STOP_SIGNALS:  # they reach the whole process group; the parent decides when to end
        signal.signal(number, signal.SIG_IGN)
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # anything that a library prints goes to stderr instead of the responses
    try:
        serve(map(json.loads, sys.stdin.buffer), responses)
    except BrokenPipeError:
        os._exit(0)  # the parent has ended; a normal exit would flush and fail again


def _pipe(stream: Any) -> BinaryIO:
    assert stream is not None  # ``start`` makes both pipes
    return stream


def _end_all(processes: dict[int, subprocess.Popen[bytes]]) -> None:
    while processes:
        end(processes.popitem()[1])
