"""``domtrans bench``: how fast a recipe trains here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import domtrans
from domtrans.cli.completion import complete_recipe
from domtrans.cli.shared import Changes, Device, Json, Quiet, explain, find_recipe, run_context
from domtrans.errors import DomtransError

Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        autocompletion=complete_recipe,
        help="A registered recipe, a .toml or .json file, or a run's folder.",
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="plain|PATH=VALUE",
        help="The plain loop of the paper, or a change to the recipe; may be repeated.",
        show_default="plain",
    ),
]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="The same as train.batch_size=N.")]
Steps = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Timed steps of each.", show_default="20; 5 at each point of --curves")
]
Curves = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Time batch sizes, image sizes, data sets and numbers of processes, into growth.json, .md and .png there.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Time training steps, and say where the time goes. In turns with a plain loop of the same networks.",
            "domtrans bench digits-dtn-paper",
            "domtrans bench digits-dtn --batch-size 128 --steps 50 --json",
            "domtrans bench digits-dtn --against train.precision=float32 --against view=none",
            "domtrans bench digits-dtn --curves docs/images",
        )
    )(bench)


def bench(
    recipe: Recipe = "digits-dtn",
    changes: Changes = None,
    against: Against = None,
    batch_size: BatchSize = None,
    steps: Steps = None,
    curves: Curves = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """See the help above."""
    from domtrans.benchmark import scaling, tables
    from domtrans.cli import terminal

    if curves is not None and against:
        raise DomtransError("--curves compares with the plain loop at every point; leave --against out")
    changes = [*(changes or []), *([f"train.batch_size={batch_size}"] if batch_size else [])]
    with run_context(quiet=quiet) as context:
        resolved, listeners = find_recipe(recipe, changes, context.registry), (context.listener,)
        if curves is None:
            data = domtrans.bench(
                resolved,
                against=against or ("plain",),
                steps=steps or 20,
                device=device,
                registry=context.registry,
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
