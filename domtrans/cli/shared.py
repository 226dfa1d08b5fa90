"""What the commands share: arguments, help, exit codes, and how plugins and recipes are found."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import domtrans
from domtrans.cli.completion import complete_change, complete_recipe, complete_tracker

if TYPE_CHECKING:
    from domtrans.recipe.schema import Recipe
    from domtrans.registry.plugins import Plugins

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


def load_plugins(*, warn: bool = True) -> Plugins:
    """Every plugin, whatever they print; broken ones are named on standard error."""
    from domtrans.cli import terminal

    with redirect_stdout(sys.stderr):
        plugins = domtrans.load_plugins()
    if warn:
        for info in plugins.broken:
            terminal.warn(f"the plugin '{info.name}' of {info.distribution} {info.version} was skipped: {info.error}")
        for info in plugins.infos:
            if info.advice:
                terminal.warn(info.advice)
    return plugins


def find_recipe(name: str, changes: list[str], plugins: Plugins) -> Recipe:
    """A recipe by name, file or run, with changes."""
    found = domtrans.find_recipe(name, plugins.registry)
    return domtrans.override(found, changes, plugins.registry) if changes else found
