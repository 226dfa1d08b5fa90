"""``domtrans report``: a run, or several side by side, as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import domtrans
from domtrans.cli.shared import explain, run_context
from domtrans.errors import one_line

Runs = Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs, finished or not.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="The file to write.",
        show_default="report.html, in the folder of a single run, else here",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Write a page on a run, or on several side by side. Figures, curves, samples, worst cases, recipe.",
            "domtrans report runs/digits-dtn",
            "domtrans report runs/digits-dtn runs/digits-dtn-paper -o compared.html",
        )
    )(report)


def report(runs: Runs, out: Out = None) -> None:
    """See the help above."""
    with run_context() as context:
        written = domtrans.report(runs, out, registry=context.registry)
    typer.echo(f"wrote {one_line(str(written))}")
