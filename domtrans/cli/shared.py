"""What the commands share: arguments, help, exit codes, and the plugins and progress that a command runs with."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import domtrans
from domtrans.cli.completion import complete_change, complete_recipe, complete_tracker
from domtrans.compute import torchrun

if TYPE_CHECKING:
    from domtrans.recipe.schema import Recipe
    from domtrans.registry.plugins import Plugins
    from domtrans.registry.registry import Registry
    from domtrans.runs.run import Run
    from domtrans.session import Listener

USER_ERROR = 2
SOME_FAILED = 1
INTERRUPTED = 130

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        autocompletion=complete_recipe,
        help="A registered recipe, a .toml or .json file, or the folder of a run.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE",
        autocompletion=complete_change,
        help="Changes to the recipe, e.g. train.steps=2000; NAME=none removes a part.",
    ),
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a trained run, a model file, or OWNER/NAME on a model hub.")
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRACKER",
        autocompletion=complete_tracker,
        help="A tool that hears of it, e.g. tensorboard, or a table with options; may be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="A line for every report, with every figure, instead of bars.")]


def explain(purpose: str, *examples: str) -> str:
    """A command's help: its purpose, and examples that keep their line breaks (so click's ``\\b`` asks)."""
    return f"{purpose}\n\n\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)


@dataclass(frozen=True)
class RunContext:
    """What a command hands to the library: the parts of all plugins, and a listener that shows progress."""

    registry: Registry
    listener: Listener

    def load(self, path: Path, device: str) -> Run:
        """Load a trained run."""
        return domtrans.load(path, device=device, registry=self.registry, listeners=(self.listener,))


@contextmanager
def run_context(
    stop: threading.Event | None = None,
    *,
    registry: Registry | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> Iterator[RunContext]:
    """Load the plugins, unless ``registry`` has their parts, and show progress until the block ends.

    Standard output is for the result alone: whatever plugins and downloads print inside the block goes to standard error.
    Of several processes, only the first shows progress.
    """
    from domtrans.cli import progress

    registry = registry or load_plugins().registry
    quiet = quiet or torchrun.rank() > 0
    # The progress bars wrap standard output while they run, so the redirection has to be the outer block.
    with redirect_stdout(sys.stderr), progress.watch(stop, quiet=quiet, verbose=verbose) as listener:
        yield RunContext(registry, listener)


def load_plugins(*, warn: bool = True) -> Plugins:
    """Load every plugin. Warn of broken and outdated ones, in the first of several processes."""
    from domtrans.cli import terminal

    with redirect_stdout(sys.stderr):
        plugins = domtrans.load_plugins()
    if warn and torchrun.rank() == 0:
        for info in plugins.broken:
            terminal.print_warning(f"the plugin '{info.name}' of {info.distribution} {info.version} was skipped: {info.error}")
        for info in plugins.infos:
            if info.advice:
                terminal.print_warning(info.advice)
    return plugins


def find_recipe(name: str, changes: list[str], registry: Registry) -> Recipe:
    """Find a recipe by its name, file or run, and apply changes."""
    recipe = domtrans.find_recipe(name, registry)
    return domtrans.override(recipe, changes, registry) if changes else recipe
