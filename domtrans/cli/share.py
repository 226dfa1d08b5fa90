"""The commands that hand a trained run on: export, pack, generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import domtrans
from domtrans.cli.shared import Changes, Device, Json, Quiet, RunPath, explain, run_context
from domtrans.errors import DomtransError, one_line

if TYPE_CHECKING:
    from domtrans.sharing.export import Precision

NewFolder = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write: new or empty.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which --help lists them."""
    app.command(
        help=explain(
            "Write a run as one ONNX or torch.export file. Pixels in, pixels out; compared with the original.",
            "domtrans export runs/digits-dtn digits.onnx",
            "domtrans export runs/digits-dtn small.onnx --int8",
            "domtrans export runs/digits-dtn digits.onnx source=folder source.path=photos",
        )
    )(export)
    app.command(
        help=explain(
            "Write a run as a folder for a model hub. Model, recipe, results, model card, sample grid, checksums.",
            "domtrans pack runs/digits-dtn digits-dtn --licence mit",
        )
    )(pack)
    app.command(
        help=explain(
            "Transfer a run's source images into a labelled data set.",
            "domtrans generate runs/digits-dtn made-digits",
            "domtrans generate runs/digits-dtn shards --format webdataset --count 100000",
        )
    )(generate)


def export(
    run: RunPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, .onnx or .pt2.")],
    changes: Changes = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights and arithmetic in float16; measured.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Weights and activations in int8; measured.")] = False,
    tolerance: Annotated[
        int | None,
        typer.Option(
            metavar="LEVELS",
            min=0,
            help="Levels of 255 that a pixel may be off before nothing is written.",
            show_default="1; none with --fp16 and --int8",
        ),
    ] = None,
    as_json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """See the help above."""
    from domtrans.cli import terminal

    if fp16 and int8:
        raise DomtransError("--fp16 and --int8 exclude each other; write two files")
    with run_context(quiet=quiet) as context:
        loaded = context.load(run, device)
        precision: Precision = "fp16" if fp16 else "int8" if int8 else "float32"
        found = domtrans.export(loaded, file, changes or [], precision=precision, tolerance=tolerance)
    if as_json:
        terminal.print_json(found.to_json())
    else:
        terminal.show_export(found)


def pack(
    run: RunPath,
    folder: NewFolder,
    licence: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Of the model, as model hubs abbreviate it, e.g. mit.", show_default="not stated"),
    ] = None,
) -> None:
    """See the help above."""
    from domtrans.cli import terminal

    with run_context() as context:
        packed = domtrans.pack(context.load(run, "cpu"), folder, licence=licence)
    typer.echo(f"wrote {one_line(str(packed.folder))}: {', '.join(packed.files)}")
    if packed.places:
        terminal.print_warning(
            f"the recipe or the command names places of this machine, which go out with it: {', '.join(packed.places)}"
        )


def generate(
    run: RunPath,
    folder: NewFolder,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="imagefolder (CLASS/000001.png) or webdataset (tar shards).")
    ] = "imagefolder",
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Of the source: train or test.")] = "train",
    count: Annotated[
        int | None, typer.Option(metavar="N", help="At most N images, evenly over the split.", show_default="all")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """See the help above."""
    from domtrans.cli import terminal

    with run_context(quiet=quiet) as context:
        loaded = context.load(run, device)
        made = domtrans.generate(loaded, folder, format=format, split=split, count=count)
    labels = f"of {len(made.classes)} classes" if made.classes else "without classes"
    typer.echo(f"wrote {made.count:,} images {labels} to {one_line(str(made.folder))}")
    if made.attributes and format == "imagefolder":
        terminal.print_warning(
            f"the attributes {', '.join(made.attributes)} have no place in an image folder; --format webdataset keeps them"
        )
