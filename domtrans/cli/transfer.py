"""The command that puts a trained run to use: transfer."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

import domtrans
from domtrans.cli.shared import INTERRUPTED, SOME_FAILED, Device, Quiet, RunPath, explain, load_plugins
from domtrans.compute import torchrun
from domtrans.errors import DomtransError, Stopped, one_line

if TYPE_CHECKING:
    from domtrans.inference.transfer_files import Format, Transferred

STREAM = Path("-")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Transfer files, folders, animations and films. Exit code 1 if some could not be read.",
            "domtrans transfer runs/digits-dtn house-number.jpg handwritten.png",
            "domtrans transfer runs/digits-dtn photos/ transferred/ --sheet sheet.png",
            "domtrans transfer runs/digits-dtn 'photos/**/*.jpg' one-more.png transferred/ --format webp --size 128",
            "domtrans transfer runs/digits-dtn street.mp4 digits.mp4 --side-by-side",
            "domtrans transfer runs/faces group-photo.jpg avatars/ --faces",
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
            help="Pictures, folders of them, or patterns in quotes; last the file or the folder to write. - is a pipe.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Of pictures in a folder: png, jpg or webp.", show_default="png"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the output.", show_default="the network's own")
    ] = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="The input on the left of the output.")] = False,
    faces: Annotated[bool, typer.Option("--faces", help="Find every face in a photograph and transfer that.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A contact sheet to write as well, of 256 inputs and outputs at most.")
    ] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave alone what is there.")] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images that the network takes at a time.")] = 256,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads that decode and encode.", show_default="one for every core, 8 at most"),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """See the help above."""
    from domtrans.cli import progress, terminal
    from domtrans.compute.distributed import local_device, process_group

    *sources, destination = paths
    if not sources:
        raise DomtransError(f"say where {destination} is to go: domtrans transfer RUN INPUT... OUTPUT")
    with progress.stop_on_signals() as stop:
        try:
            device = local_device(device)
            leads = torchrun.rank() == 0
            plugins = load_plugins(warn=leads)
            # A bar where somebody looks on; elsewhere standard error names what went wrong, and nothing else.
            shown = leads and not quiet and sys.stderr.isatty()
            with process_group(device, stop) as group, progress.watch(stop, quiet=not shown) as listener:
                given, target = [*map(_input, sources)], _output(destination)
                with redirect_stdout(sys.stderr):
                    done = domtrans.transfer(
                        run,
                        given,
                        target,
                        device=device,
                        format=cast("Format | None", format),
                        size=size,
                        side_by_side=side_by_side,
                        faces=faces,
                        sheet=sheet if leads else None,
                        skip_existing=skip_existing,
                        batch_size=batch_size,
                        workers=workers,
                        part=(group.rank, group.size),
                        registry=plugins.registry,
                        listeners=(listener,),
                        stop=stop,
                    )
                # All wait here for all: torchrun ends the others as soon as one process ends with an error.
                some_worked, some_failed = group.any_of(worked=bool(done.written or done.skipped), failed=bool(done.failed))
        except (Stopped, KeyboardInterrupt) as stopped:
            again = [word for word in sys.argv[1:] if word != "--skip-existing"]
            terminal.tell(str(stopped) or "aborted; no file is half there")
            terminal.tell(f"go on with: {shlex.join([*torchrun.command(), *again, '--skip-existing'])}")
            raise typer.Exit(INTERRUPTED) from None
    for _, reason in done.failed:
        terminal.tell(f"skipped: {reason}")
    if not some_worked:
        named = ", ".join(map(str, sources[:9]))
        raise DomtransError(f"none of the {len(done.failed)} pictures in {named} could be read")
    said = _summary(done, sources, destination, faces=faces)
    if group.size > 1:
        said = f"process {group.rank + 1} of {group.size} {said}"
    typer.echo(said, err=destination == STREAM)
    if some_failed:
        raise typer.Exit(SOME_FAILED)


def _summary(done: Transferred, sources: list[Path], destination: Path, *, faces: bool) -> str:
    if len(sources) == 1 and done.written and not faces and (sources[0] == STREAM or sources[0].is_file()):
        what = str(done.written[0])
    else:
        what = f"{_count(len(done.written), 'picture')} to {destination}"
    words = f"wrote {one_line(what)}"
    if done.skipped:
        words += f"; {_count(len(done.skipped), 'file')} were there already".replace("1 file were", "1 file was")
    if done.failed:
        words += f"; {_count(len(done.failed), 'file')} could not be read"
    return words


def _input(path: Path) -> Path | BinaryIO:
    return sys.stdin.buffer if path == STREAM else path


def _output(path: Path) -> Path | BinaryIO:
    if path != STREAM:
        return path
    if sys.stdout.isatty():
        raise DomtransError("a picture is nothing for a terminal; send standard output to a file or another program")
    return sys.stdout.buffer


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
