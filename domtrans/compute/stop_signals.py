"""The signals that ask a program to stop. It does not import torch."""

import signal

STOP_SIGNALS = [
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if (number := getattr(signal, name, None)) is not None  # some systems have only the first two
]
"""What Ctrl-C, a scheduler and a closed terminal send."""
