"""``domtrans bench``: the training speed of a recipe on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import domtrans
from domtrans.cli.shared import Changes, Device, Json, Quiet, RecipeName, explain, run_context
from domtrans.errors import DomtransError

Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="plain|PATH=VALUE",
        help="Compare with the plain loop, or with a change to the recipe; repeatable.  [default: plain]",
    ),
]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="The same as train.batch_size=N.")]
Steps = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Timed steps of each.  [default: 20; 5 at each point of --curves]")
]
Curves = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Time several batch sizes, image sizes, data set sizes and process counts; write growth.json, .md, .png there.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Time training steps, and show where the time goes. A plain loop of the same networks is timed for comparison.",
            "domtrans bench digits-dtn-paper",
            "domtrans bench digits-dtn --batch-size 128 --steps 50 --json",
            "domtrans bench digits-dtn --against train.precision=float32 --against view=none",
            "domtrans bench digits-dtn --curves docs/images",
        )
    )(bench)


def bench(
    recipe: RecipeName = "digits-dtn",
    changes: Changes = None,
    against: Against = None,
    batch_size: BatchSize = None,
    steps: Steps = None,
    curves: Curves = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.benchmark import scaling, tables
    from domtrans.cli import terminal

    if curves is not None and against:
        raise DomtransError("--curves always compares with the plain loop; leave out --against")
    changes = [*(changes or []), *([f"train.batch_size={batch_size}"] if batch_size else [])]
    with run_context(quiet=quiet) as context:
        resolved, listeners = domtrans.find_recipe(recipe, context.registry, changes), context.listener
        if curves is None:
            data = domtrans.bench(
                resolved,
                against=against or ("plain",),
                steps=steps or 20,
                device=device,
                registry=context.registry,
                progress=False,
                listeners=listeners,
            )
        else:
            data = scaling.measure_scaling(
                resolved, curves, steps=steps or 5, device=device, registry=context.registry, listeners=listeners
            )
    if as_json:
        terminal.print_json(data)
        return
    for header, rows in [tables.scaling_table(data)] if curves else tables.tables(data):
        terminal.show_table(header, rows)
        typer.echo()
    for sentence in tables.refusals(data) if curves else ():
        typer.echo(sentence)
    typer.echo(tables.circumstances(data))
    if curves:
        typer.echo(f"written to {', '.join(str(curves / name) for name in scaling.FILES)}")
