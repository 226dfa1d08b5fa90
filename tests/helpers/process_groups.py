"""Start a command as several processes."""

import os
import socket
import subprocess
import sys

from commands import PIPED


def started(*command: object, **variables: object) -> subprocess.Popen[str]:
    environment = os.environ | PIPED | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, *map(str, command)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
