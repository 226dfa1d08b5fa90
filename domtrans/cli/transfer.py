"""``domtrans transfer``: image files through a trained run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

import domtrans
from domtrans.cli.completion import complete_detector
from domtrans.cli.exit_codes import INTERRUPTED, SOME_FAILED
from domtrans.cli.shared import Device, Out, Project, Quiet, RunPath, explain, run_context
from domtrans.compute import launcher
from domtrans.errors import DomtransError, Stopped, one_line

if TYPE_CHECKING:
    from domtrans.compute.precision import Precision
    from domtrans.data.aspect import Aspect
    from domtrans.data.image_scan import SkippedFile
    from domtrans.inference.transfer_files import Format, Transferred
    from domtrans.model.inference_engine import InferenceEngine

STREAM = Path("-")
MAX_NAMES = 9
"""Inputs that an error message lists."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Transfer images, folders, animations and videos. The exit code is 1 if some inputs failed.",
            "domtrans transfer runs/digits-dtn house-number.jpg handwritten.png",
            "domtrans transfer runs/digits-dtn photos/ transferred/ --sheet sheet.png",
            "domtrans transfer runs/digits-dtn 'photos/**/*.jpg' one-more.png transferred/ --format webp --size 128",
            "domtrans transfer runs/digits-dtn street.mp4 digits.mp4 --side-by-side",
            "domtrans transfer runs/faces-dtn group-photo.jpg avatars/ --crop faces",
            "domtrans transfer runs/avatars-dtn photo.jpg avatar.svg --parameters avatar.json",
            "cat photo.jpg | domtrans transfer runs/digits-dtn - - > made.png",
            "torchrun --nproc-per-node 4 -m domtrans transfer runs/digits-dtn photos/ transferred/",
        )
    )(transfer)


def transfer(
    run: RunPath,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT... OUTPUT",
            help="Image files, folders, or patterns in quotes; last, the output file or folder. - is a pipe.",
        ),
    ],
    out: Out = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Format of the images of a folder: png, jpg, webp or svg.  [default: png]"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the output.  [default: as the network produces it]")
    ] = None,
    keep_size: Annotated[
        bool, typer.Option("--keep-size", help="Resize the output to the size of what the network sees of the input.")
    ] = False,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show the input on the left of the output.")] = False,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="DETECTOR",
            autocompletion=complete_detector,
            help="Transfer every object that this detector finds, e.g. faces, instead of the whole image.",
        ),
    ] = None,
    faces: Annotated[bool, typer.Option("--faces", help="The old name of --crop faces.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a contact sheet: at most 256 inputs, each above its output.")
    ] = None,
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Also write the parameters of the drawings as JSON: a file, or a folder for several images.",
        ),
    ] = None,
    project: Project = False,
    tiles: Annotated[
        bool,
        typer.Option("--tiles", help="Keep size and shape of a large picture: transfer it in overlapping tiles."),
    ] = False,
    variant: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Write another transfer of every image, for a run with generator.noise."),
    ] = 0,
    aspect: Annotated[
        str | None,
        typer.Option(
            metavar="ASPECT",
            help="What to do with images that are not square: crop to the centre, pad, or squeeze.  [default: as in training]",
        ),
    ] = None,
    value_range: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="BLACK WHITE", help="The values of black and white in an .npy file.  [default: as detected]"),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Refuse images of more pixels; 0 for no limit.  [default: DOMTRANS_MAX_PIXELS, or 89,478,485]"
        ),
    ] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip inputs whose output exists.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files that domtrans did not write.")] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per batch of the network.")] = 64,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads that decode and encode.  [default: one per core, at most 8]"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="PRECISION", help="float32, bf16 (faster on most new processors and GPUs), or auto: bf16 where it is fast."
        ),
    ] = "float32",
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="Compute with torch, onnxruntime or openvino; auto: one of the last two, if installed.",
        ),
    ] = "torch",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli.interrupt import stop_on_signals
    from domtrans.compute.distributed import local_device, process_group

    *sources, destination = paths if out is None else [*paths, out]
    if not sources:
        raise DomtransError(f"there is no output for {destination}; give one: domtrans transfer RUN INPUT... OUTPUT")
    with stop_on_signals() as stop:
        try:
            device = local_device(device)
            inputs, output = [*map(_input, sources)], _output(destination)
            quiet = quiet or not sys.stderr.isatty()  # a bar on a terminal; elsewhere, standard error is for failures only
            with run_context(stop, quiet=quiet) as context, process_group(device, stop) as group:
                done = domtrans.transfer(
                    run,
                    inputs,
                    output,
                    device=device,
                    precision=cast("Precision", precision),
                    engine=cast("InferenceEngine", engine),
                    format=cast("Format | None", format),
                    size=size,
                    keep_size=keep_size,
                    side_by_side=side_by_side,
                    crop=crop or ("faces" if faces else None),
                    sheet=sheet if group.is_main else None,
                    parameters=parameters,
                    project=project,
                    tiles=tiles,
                    variant=variant,
                    aspect=cast("Aspect | None", aspect),
                    value_range=value_range,
                    max_pixels=max_pixels,
                    skip_existing=skip_existing,
                    force=force,
                    batch_size=batch_size,
                    workers=workers,
                    part=(group.rank, group.size),
                    registry=context.registry,
                    progress=False,
                    listeners=context.listener,
                    stop=stop,
                )
                # All wait here for all: torchrun ends the others as soon as one process ends with an error.
                some_worked, some_failed = group.any_of(
                    worked=bool(done.written or done.skipped),
                    failed=bool(done.failed) or any(file.expected for file in done.passed_over),
                )
        except (Stopped, KeyboardInterrupt) as stopped:
            again = [word for word in sys.argv[1:] if word != "--skip-existing"]
            command = shlex.join([*launcher.command(), *again, "--skip-existing"])
            _print_notes([str(stopped) or "aborted; every written file is complete", f"continue with: {command}"])
            raise typer.Exit(INTERRUPTED) from None
    _print_notes([f"skipped: {reason}" for _, reason in done.failed])
    _print_notes(done.notes)
    if group.is_main:  # every process passes over the same files
        _print_notes([f"skipped: {line}" for line in _describe_expected(done.passed_over)])
    if not some_worked:
        names = ", ".join(map(str, sources[:MAX_NAMES]))
        raise DomtransError(f"none of the {len(done.failed)} files in {names} could be transferred")
    if done.projected and group.is_main and not project:
        _print_notes(["this run draws pixels; what was written are the drawings nearest to them, as --project gives them"])
    summary = _summarise(done, sources, destination)
    if group.size > 1:
        summary = f"process {group.rank + 1} of {group.size} {summary}"
    typer.echo(summary, err=destination == STREAM)
    if some_failed:
        raise typer.Exit(SOME_FAILED)


def _print_notes(notes: Sequence[str]) -> None:
    """Print lines beside the result."""
    if notes:
        from domtrans.cli import terminal  # not at the top: its libraries take a tenth of the start of a transfer

        for note in notes:
            terminal.print_note(note)


def _summarise(done: Transferred, sources: list[Path], destination: Path) -> str:
    """One line about the result."""
    from domtrans.data.image_scan import describe_skipped

    images = [path for path in done.written if path.suffix.lower() != ".json"]
    is_single = len(sources) == 1 and len(images) == 1 and (sources[0] == STREAM or sources[0].is_file())
    output = str(images[0]) if is_single else f"{_count(len(images), 'image')} to {destination}"
    summary = f"wrote {one_line(output)}"
    if len(images) < len(done.written):
        summary += f" and {_count(len(done.written) - len(images), 'file')} of parameters"
    if done.skipped:
        summary += f"; {_count(len(done.skipped), 'file')} existed already"
    if done.failed:
        summary += f"; {_count(len(done.failed), 'file')} failed"
    passed_over = describe_skipped(done.passed_over)
    return f"{summary}; {passed_over}" if passed_over else summary


def _describe_expected(passed_over: Sequence[SkippedFile]) -> list[str]:
    """One line for each reason why files that a user expects to be transferred were not: the first file, and how many more."""
    from domtrans.data.image_scan import SkipKind, count_skipped

    lines = []
    for file, count in count_skipped(file for file in passed_over if file.expected).items():
        more = f" and {count - 1:,} more" if count > 1 else ""
        advice = "; install it with: pip install 'domtrans[heif]'" if file.kind is SkipKind.NEEDS_HEIF else ""
        lines.append(f"{file.path}{more}: {file.reason}{advice}")
    return lines


def _input(path: Path) -> Path | BinaryIO:
    return sys.stdin.buffer if path == STREAM else path


def _output(path: Path) -> Path | BinaryIO:
    if path != STREAM:
        return path
    if sys.stdout.isatty():
        raise DomtransError("refusing to write image data to a terminal; redirect standard output to a file or a program")
    return sys.stdout.buffer


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
