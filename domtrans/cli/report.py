"""``domtrans report``: one HTML page about a run, or about several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import domtrans
from domtrans.cli.completion import complete_run
from domtrans.cli.shared import explain, run_context
from domtrans.errors import one_line

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN", autocompletion=complete_run, help="Run folders, finished or not; or models:NAME.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="The file to write.  [default: report.html, in the folder of a single run, else in this folder]",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Write an HTML report on one run, or several side by side. It shows results, curves, samples and the recipe.",
            "domtrans report runs/digits-dtn",
            "domtrans report runs/digits-dtn runs/digits-dtn-paper -o compared.html",
        )
    )(report)


def report(runs: Runs, out: Out = None) -> None:
    """Run the command."""
    with run_context() as context:
        written = domtrans.report(runs, out, registry=context.registry)
    typer.echo(f"wrote {one_line(str(written))}")
