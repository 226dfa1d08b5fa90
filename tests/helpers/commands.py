"""Commands as a person gives them, and options that make a run take a second."""

import os
import subprocess
import sys

import pytest

from domtrans.cli.app import main

SMALL = [
    "fit.steps=2",
    "fit.batch_size=4",
    "generator.width=4",
    "discriminator.width=4",
    "metrics.digits.steps=2",
    "metrics.digits.batch_size=4",
    "train.steps=4",
    "train.batch_size=4",
    "train.log_every=1",
    "train.precision=float32",
]
PIPED = {"NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def domtrans(*args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """A real process, as from a script: nothing is a terminal."""
    command = [sys.executable, "-m", "domtrans", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | PIPED, timeout=timeout)


def in_process(capsys, *args: object) -> tuple[int, str, str]:
    """The same without a second import of torch: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as done:
        main([*map(str, args)])
    captured = capsys.readouterr()
    return done.value.code or 0, captured.out, captured.err
