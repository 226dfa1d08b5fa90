"""The commands that share a trained run: export, pack, push, generate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import domtrans
from domtrans.cli.shared import DataChanges, Device, Json, Out, Quiet, RunPath, explain, output_and_rest, output_of, run_context
from domtrans.errors import DomtransError, one_line

if TYPE_CHECKING:
    from domtrans.sharing.export import GraphPrecision

NewFolder = Annotated[Path | None, typer.Argument(metavar="OUT", help="The folder to write; new or empty.")]

Licence = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Licence of the model, as model hubs abbreviate it, e.g. mit.  [default: not stated]"),
]
Fp16 = Annotated[
    bool, typer.Option("--fp16", help="Round the weights to float16: half the size. The results are measured again.")
]
Sign = Annotated[
    Path | None,
    typer.Option(metavar="KEY", help="Sign the checksums with this private key, Ed25519 or ECDSA; needs the extra signing."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which --help lists them."""
    app.command(
        help=explain(
            "Write a run as one ONNX or torch.export file. It takes and returns pixels, and is compared with the original.",
            "domtrans export runs/digits-dtn digits.onnx",
            "domtrans export runs/digits-dtn small.onnx --int8",
            "domtrans export runs/digits-dtn digits.onnx source=folder source.path=photos",
        )
    )(export)
    app.command(
        help=explain(
            "Write a run as a folder for a model hub. It holds model, recipe, results, model card, sample grid and checksums.",
            "domtrans pack runs/digits-dtn digits-dtn --licence mit",
            "domtrans pack runs/digits-dtn digits-dtn --fp16 --sign key.pem",
        )
    )(pack)
    app.command(
        help=explain(
            "Upload a run to a model hub: the files that pack writes. Your token stays with huggingface_hub.",
            "domtrans push runs/digits-dtn owner/digits-dtn --licence mit",
            "domtrans push runs/digits-dtn owner/digits-dtn --private --fp16",
        )
    )(push)
    app.command(
        help=explain(
            "Transfer the source images of a run into a data set.",
            "domtrans generate runs/digits-dtn made-digits",
            "domtrans generate runs/digits-dtn shards --format webdataset --count 100000",
        )
    )(generate)


def export(
    run: RunPath,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The file to write; .onnx or .pt2.")] = None,
    changes: DataChanges = None,
    out: Out = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights and arithmetic in float16. The metrics are measured.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Weights and activations in int8. The metrics are measured.")] = False,
    tolerance: Annotated[
        int | None,
        typer.Option(
            metavar="LEVELS",
            min=0,
            help="Write nothing if a pixel differs by more levels of 255.  [default: 1; unlimited with --fp16 and --int8]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that export did not write.")] = False,
    as_json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.evaluation.metric_rows import declared_values

    if fp16 and int8:
        raise DomtransError("--fp16 and --int8 cannot be combined; write two files")
    file, changes = output_and_rest(file, out, changes)
    with run_context(quiet=quiet) as context:
        loaded = context.load(run, device)
        precision: GraphPrecision = "fp16" if fp16 else "int8" if int8 else "float32"
        exported = domtrans.export(loaded, file, changes, precision=precision, tolerance=tolerance, force=force, progress=False)
    if as_json:
        terminal.print_json(exported.to_json())
    else:
        terminal.show_export(exported, declared_values(loaded.registry, loaded.recipe))


def pack(
    run: RunPath,
    folder: NewFolder = None,
    out: Out = None,
    licence: Licence = None,
    fp16: Fp16 = False,
    sign: Sign = None,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    output = output_of(folder, out)
    with run_context() as context:
        packed = domtrans.pack(context.load(run, "cpu"), output, licence=licence, fp16=fp16, sign=sign)
    typer.echo(f"wrote {one_line(str(packed.folder))}: {', '.join(packed.files)}")
    if packed.places:
        terminal.print_warning(
            f"the recipe or the command in the model contains paths of this machine: {', '.join(packed.places)}"
        )


def push(
    run: RunPath,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository; created if it does not exist.")],
    licence: Licence = None,
    fp16: Fp16 = False,
    sign: Sign = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    branch: Annotated[str | None, typer.Option(metavar="NAME", help="The branch to upload to.  [default: main]")] = None,
    allow_paths: Annotated[
        bool, typer.Option("--allow-paths", help="Upload it even if its files contain paths of this machine.")
    ] = False,
) -> None:
    """Run the command."""
    with run_context() as context:
        pushed = domtrans.push_to_hub(
            context.load(run, "cpu"),
            repository,
            licence=licence,
            fp16=fp16,
            private=private,
            branch=branch,
            allow_paths=allow_paths,
            sign=sign,
        )
    typer.echo(f"uploaded {', '.join(pushed.files)} to {pushed.address}")


def generate(
    run: RunPath,
    folder: NewFolder = None,
    out: Out = None,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="imagefolder (CLASS/000001.png) or webdataset (tar shards).")
    ] = "imagefolder",
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Split of the source: train or test.")] = "train",
    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of images at most, evenly spread over the split.  [default: all]"),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    output = output_of(folder, out)
    with run_context(quiet=quiet) as context:
        loaded = context.load(run, device)
        generated = domtrans.generate(loaded, output, format=format, split=split, count=count, progress=False)
    labels = f"of {len(generated.classes)} classes" if generated.classes else "without classes"
    typer.echo(f"wrote {generated.count:,} images {labels} to {one_line(str(generated.folder))}")
    if generated.attributes and format == "imagefolder":
        terminal.print_warning(
            f"an image folder cannot store the attributes {', '.join(generated.attributes)}; --format webdataset keeps them"
        )
