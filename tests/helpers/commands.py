"""Run commands of the command line, and options with which a run takes a second."""

import functools
import subprocess
from unittest.mock import patch

import pytest
import typer.main

from domtrans.cli.app import main
from processes import run

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

ENDLESS = [*SMALL, "train.steps=1000000", "train.save_every=1000000", "train.sample_every=1000000"]
"""Options of a run that goes on until it is stopped, and saves only then."""


build_once = functools.cache(typer.main.get_command)
"""The tree of commands. Building it takes long, and the tests run more than a thousand commands in one process."""


def domtrans(*args: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; its output is not a terminal."""
    return run("-m", "domtrans", *args)


def in_process(capsys, *args: object) -> tuple[int, str, str]:
    """Run a command in this process; returns the exit code, standard output and standard error."""
    with patch("typer.main.get_command", build_once), pytest.raises(SystemExit) as done:
        main([*map(str, args)])
    captured = capsys.readouterr()
    return done.value.code or 0, captured.out, captured.err
