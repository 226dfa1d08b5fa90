"""``domtrans reproduce``: run a study and write its tables."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domtrans.cli.completion import complete_study
from domtrans.cli.exit_codes import INTERRUPTED, SOME_FAILED
from domtrans.cli.shared import Changes, Device, Json, Quiet, Verbose, explain, run_context
from domtrans.compute import launcher
from domtrans.errors import Stopped

if TYPE_CHECKING:
    from domtrans.studies.reproduce import Reproduction


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Train and measure the rows of a study, and write its tables. Every row is run with several seeds.",
            "domtrans reproduce digits --quick",
            "domtrans reproduce digits --only best --only no-const --seeds 1",
            "domtrans reproduce digits --data-dir data --encoder f.safetensors train.steps=5000",
        )
    )(reproduce)


def reproduce(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", autocompletion=complete_study, help="The study; `domtrans show study` lists them.")
    ],
    changes: Changes = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of runs per row; their seeds are 0, 1, ...  [default: 3; 1 with --quick]"),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Run only this row; repeatable.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for runs and tables; an existing one is continued.  [default: runs/study-STUDY]",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder with the real data sets.  [default: data that needs no download]"),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Load the weights of f from this file instead of fitting it.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run a smoke test: tiny sizes, a few minutes, meaningless results.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.studies.reproduce import Reproduction

    given = {"data_dir": data_dir, "encoder": encoder}
    options = {name: str(path) for name, path in given.items() if path is not None} | ({"quick": True} if quick else {})
    with run_context(quiet=True) as context:  # each run of the study has its own progress
        reproduction = Reproduction(
            study,
            out,
            options=options,
            seeds=seeds if seeds is not None else 1 if quick else 3,
            only=only or (),
            changes=changes or (),
            device=device,
            registry=context.registry,
        )
        _run_jobs(reproduction, quiet=quiet, verbose=verbose)
        data = reproduction.write()
    if as_json:
        terminal.print_json(data)
    else:
        _show_tables(data)
        typer.echo(f"written to {reproduction.folder.path / 'table.md'}")
    if reproduction.failed:
        raise typer.Exit(SOME_FAILED)


def _run_jobs(study: Reproduction, *, quiet: bool, verbose: bool) -> None:
    """Run the jobs that are not done, each with its own progress. A job that fails does not stop the others."""
    from domtrans.cli import terminal
    from domtrans.cli.interrupt import stop_on_signals
    from domtrans.progress.display import show_progress
    from domtrans.progress.lines import clock

    jobs = [job for job in study.jobs if not study.is_done(job)]
    with stop_on_signals() as stop:
        for number, job in enumerate(jobs, 1):
            if not quiet:
                left = study.seconds_left(len(jobs) - number + 1)
                when = "" if left is None else f"; about {clock(left)} left"
                terminal.print_note(f"{job}: run {number} of {len(jobs)}{when}")
            try:
                with show_progress(not quiet, stop=stop, verbose=verbose) as listener:
                    study.run(job, listeners=listener, stop=stop)
            except (Stopped, KeyboardInterrupt) as stopped:
                terminal.print_note(str(stopped) or "aborted; what was saved before is intact")
                terminal.print_note(f"continue with: {shlex.join([*launcher.command(), *sys.argv[1:]])}")
                raise typer.Exit(INTERRUPTED) from None
            if job.seed in study.failed.get(job.name, {}):
                terminal.print_warning(f"{job} failed: {study.failed[job.name][job.seed]}")


def _show_tables(data: Mapping[str, Any]) -> None:
    """Print the tables that have measured rows."""
    from domtrans.cli import terminal
    from domtrans.studies.markdown import cells, is_measured

    for table in data["tables"]:
        if any(map(is_measured, table["rows"])):
            header, rows = cells(table)
            terminal.show_table([table["title"], *header[1:]], rows)
            typer.echo()
