"""``domtrans sweep``: search for good options of a recipe."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domtrans.cli.completion import complete_change
from domtrans.cli.exit_codes import INTERRUPTED, SOME_FAILED
from domtrans.cli.shared import Device, Json, MaxTime, Quiet, RecipeName, Verbose, explain, run_context
from domtrans.compute import launcher
from domtrans.errors import Stopped

if TYPE_CHECKING:
    from domtrans.studies.sweep import Sweep


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Search for good options of a recipe. Trials are compared by a value that needs no labels and no test images. The "
            "same command continues a sweep, and several processes can run it at the same time.",
            "domtrans sweep digits-dtn 'train.generator_optimizer.lr=log(1e-4,1e-2)' discriminator.width=16,32,64",
            "domtrans sweep digits-dtn 'generator_losses.const.weight=range(5,20)' train.steps=300 --trials 40",
        )
    )(sweep)


def sweep(
    recipe: RecipeName,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH=VALUES",
            autocompletion=complete_change,
            help="Values to search, e.g. discriminator.width=16,32,64 (one of these), PATH=range(A,B) (from A to B) or "
            "PATH=log(A,B) (the same in the logarithm); train.steps=300 is the same for all trials.",
        ),
    ],
    trials: Annotated[int, typer.Option(metavar="N", help="Number of trials in the folder.")] = 20,
    by: Annotated[
        str, typer.Option(metavar="NAME", help="validation.score (the highest is best) or a loss (the lowest is best).")
    ] = "validation.score",
    early_stop: Annotated[
        bool, typer.Option("--early-stop/--no-early-stop", help="Stop a trial that is worse than half of the others.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the trials.  [default: runs/sweep-RECIPE]")
    ] = None,
    max_time: MaxTime = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.studies.sweep import Sweep

    with run_context(quiet=True) as context:  # each trial has its own progress
        search = Sweep(
            recipe, changes, out, trials=trials, by=by, early_stop=early_stop, device=device, registry=context.registry
        )
        try:
            _run_trials(search, max_time, quiet=quiet, verbose=verbose)
        finally:
            data = search.write()
    if as_json:
        terminal.print_json(data)
    else:
        _show(search, data)
    if search.count("FAIL"):
        raise typer.Exit(SOME_FAILED)


def _run_trials(search: Sweep, max_time: str | None, *, quiet: bool, verbose: bool) -> None:
    """Run trials until there are enough. A trial that fails does not stop the others."""
    from domtrans.cli import terminal
    from domtrans.cli.interrupt import stop_on_signals
    from domtrans.progress.display import show_progress

    with stop_on_signals(max_time) as stop:
        while True:
            with search.next_trial() as trial:
                if trial is None:
                    return
                if not quiet:
                    terminal.print_note(f"trial {trial.number}: {' '.join(search.changes(trial.params))}")
                try:
                    with show_progress(not quiet, stop=stop, verbose=verbose) as listener:
                        search.run(trial, listeners=listener, stop=stop)
                except (Stopped, KeyboardInterrupt) as stopped:
                    terminal.print_note(stop.explain(str(stopped) or "aborted; what was saved before is intact"))
                    terminal.print_note(f"continue with: {shlex.join([*launcher.command(), *sys.argv[1:]])}")
                    raise typer.Exit(INTERRUPTED) from None
            if not quiet:
                terminal.print_note(search.outcome(trial.number))
            search.write(picture=False)


def _show(search: Sweep, data: Mapping[str, Any]) -> None:
    """Print the table, and the command of the best trial."""
    from domtrans.cli import terminal
    from domtrans.studies.sweep_table import cells

    terminal.show_table(*cells(data))
    typer.echo()
    if data["command"]:
        typer.echo(f"train and measure the best: {data['command']}")
    typer.echo(f"written to {search.path / 'table.md'}")
