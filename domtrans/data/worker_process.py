"""Programs of our own at the end of a pipe, for work that takes a core each.

Such a process inherits no locks, no CUDA and no main module, weighs a tenth of one with torch, unpickles nothing, and ends with
this one, however this one ends: its input does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO


def start(module: str) -> subprocess.Popen[bytes]:
    """Run ``python -m module`` with pipes at its standard input and output; the module calls ``serve_parent``."""
    # The path as it is here, and nothing of the folder that this happens to run in (-P).
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def end(process: subprocess.Popen[bytes]) -> None:
    """Make an end of it, whatever it is at."""
    with suppress(BrokenPipeError), process:  # half a request may not have gone out
        process.kill()


def serve_parent(serve: Callable[[BinaryIO, BinaryIO], None]) -> None:
    """In the new process: read requests from the parent and write answers to it, until there are no more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the whole group; when to end is for the parent to say
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get in between
    try:
        serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        os._exit(0)  # the parent is no more, and flushing would fail again
