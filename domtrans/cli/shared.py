"""What the commands share: arguments, help texts, exit codes, and the plugins and progress that a command runs with."""

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
from domtrans.cli.completion import complete_change, complete_recipe, complete_run, complete_tracker
from domtrans.compute import launcher
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from domtrans.registry.plugins import Plugins
    from domtrans.registry.registry import Registry
    from domtrans.runs.run import Run
    from domtrans.session import Listener

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        autocompletion=complete_recipe,
        help="A registered recipe, a .toml or .json file, or a run folder.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE",
        autocompletion=complete_change,
        help="Changes to the recipe, e.g. train.steps=2000; PATH=none removes a part.",
    ),
]
DataChanges = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE",
        help="Other data or metrics, e.g. source=svhn; only source, target and metrics can change.",
    ),
]
RUN_HELP = "A run folder, a model file, models:NAME that comes with domtrans, or hf://OWNER/NAME on a model hub."
RunPath = Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete_run, help=RUN_HELP)]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="Compute on auto, cpu, cuda, cuda:N or mps.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRACKER",
        autocompletion=complete_tracker,
        help="Log to tensorboard, wandb or mlflow, or to a tracker given as a JSON table with options; repeatable.",
    ),
]
MaxTime = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Stop and save after this time, e.g. 55m or 1h30m; the exit code is 130."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[
    bool, typer.Option("--project", help="Of a run that draws pixels, use the nearest drawings of the target's engine.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print a line with all values for every report, instead of bars.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="The output, if it is not given as an argument.")]


def explain(purpose: str, *examples: str) -> str:
    """The help of a command: its purpose, and examples. ``\\b`` makes click keep the line breaks."""
    return f"{purpose}\n\n\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)


@dataclass(frozen=True)
class RunContext:
    """What a command hands to the library: the parts of all plugins, and a listener that shows progress."""

    registry: Registry
    listener: Listener

    def load(self, path: str, device: str) -> Run:
        """Load a trained run."""
        return domtrans.load(path, device=device, registry=self.registry, listeners=self.listener)


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
    from domtrans.progress.display import show_progress

    registry = registry or load_plugins().registry
    # The progress bars wrap standard output while they run, so the redirection has to be the outer block.
    with redirect_stdout(sys.stderr), show_progress(not quiet, stop=stop, verbose=verbose) as listener:
        yield RunContext(registry, listener)


def output_of(argument: Path | None, option: Path | None) -> Path:
    """The output of a command, which is an argument or the option --out."""
    output, rest = output_and_rest(argument, option, None)
    if rest:
        raise DomtransError(f"there are two outputs, {argument} and {option}; leave out one of them")
    return output


def output_and_rest(argument: Path | None, option: Path | None, rest: list[str] | None) -> tuple[Path, list[str]]:
    """The output of a command that takes other arguments after it. With --out, all arguments are other ones."""
    from domtrans.storage.address import check_local  # not at the top: it imports pydantic, and --help should not wait for it

    if option is not None:
        output, rest = option, [*([] if argument is None else [str(argument)]), *(rest or [])]
    elif argument is not None:
        output, rest = argument, rest or []
    else:
        raise DomtransError("there is no output; name the file or folder to write")
    check_local(output, "what this command writes")  # here, because the run is loaded before the output is opened
    return output, rest


def load_plugins(*, warn: bool = True) -> Plugins:
    """Load every plugin. Warn of broken and outdated ones, in the first of several processes."""
    with redirect_stdout(sys.stderr):
        plugins = domtrans.load_plugins()
    if warn and launcher.rank() == 0 and any(info.error or info.advice for info in plugins.infos):
        from domtrans.cli import terminal

        for info in plugins.broken:
            terminal.print_warning(f"the plugin '{info.name}' of {info.distribution} {info.version} was skipped: {info.error}")
        for info in plugins.infos:
            if info.advice:
                terminal.print_warning(info.advice)
    return plugins
