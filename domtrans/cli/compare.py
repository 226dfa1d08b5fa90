"""``domtrans compare``: a blind page for a user study, and the count of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import domtrans
from domtrans.cli.shared import Json, explain
from domtrans.errors import DomtransError, one_line

Paths = Annotated[list[Path], typer.Argument(metavar="RUN", help="One or two run folders; or files, with --count.")]
Count = Annotated[bool, typer.Option("--count", help="Count the answers in files that the page saved.")]
Question = Annotated[str | None, typer.Option(metavar="TEXT", help="The question above the pictures.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="The page to write.  [default: compare.html]"),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Decides which transfer is on the left.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Write a page on which people compare two runs blindly. They choose between the transfers. --count counts their "
            "answers. With one run, they choose between the transfers of a picture and of another picture.",
            "domtrans compare runs/lfw-dtn runs/lfw-looks-dtn --question 'Which avatar is this person?'",
            "domtrans compare --count answers.json",
        )
    )(compare)


def compare(
    runs: Paths,
    count: Count = False,
    question: Question = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    if count:
        if question is not None or out is not None:
            raise DomtransError("--count prints the answers; it takes no --question and no --out")
        tally = domtrans.count_answers(runs)
        if as_json:
            terminal.print_json(tally.to_json())
        else:
            typer.echo(one_line(str(tally)))
        return
    if as_json:
        raise DomtransError("--json is for --count; the page is always HTML")
    written = domtrans.compare(runs, out, **({} if question is None else {"question": question}), seed=seed)
    typer.echo(f"wrote {one_line(str(written))}")
