"""The command that writes a rendered data set to files: make."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from domtrans.cli.exit_codes import INTERRUPTED
from domtrans.cli.shared import Out, Quiet, explain, load_plugins, output_and_rest, run_context
from domtrans.compute import launcher
from domtrans.errors import DomtransError, Stopped

MAX_IMAGES_PER_SHARD = 100_000
"""A shard is assembled in memory."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Write a rendered domain to WebDataset shards. The same command continues where it stopped.",
            "domtrans make avatars avatars-1m --count 1000000",
            'domtrans make avatars big-hair style=micah \'shares={"hair_length": {"long": 1}}\'',
            "torchrun --nproc-per-node 4 -m domtrans make avatars avatars-1m --count 1000000",
        )
    )(make)


def make(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A rendered domain, such as avatars.")],
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Folder for the shards.")] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="OPTION=VALUE", help="Options of the domain; `domtrans show domain DOMAIN`.")
    ] = None,
    out: Out = None,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of images.  [default: the domain's own]")
    ] = None,
    size: Annotated[int, typer.Option(min=8, max=1024, metavar="PIXELS", help="Side of the images.")] = 96,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="train or test.")] = "train",
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same as seed=N.")] = None,
    shard: Annotated[int, typer.Option(min=1, max=MAX_IMAGES_PER_SHARD, metavar="N", help="Images per shard.")] = 10_000,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Render processes.  [default: one per core]")] = None,
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.cli.interrupt import stop_on_signals
    from domtrans.data.rendered import RenderedDomain
    from domtrans.data.shard_writer import ProcessShare, Shards
    from domtrans.recipe.overrides import parse
    from domtrans.recipe.schema import use
    from domtrans.session import Progress

    folder, options = output_and_rest(folder, out, options)
    registry = load_plugins().registry
    if split not in ("train", "test"):
        raise DomtransError(f"--split must be train or test, not '{split}'")
    given = dict(parse(options)) | ({} if seed is None else {"seed": seed})
    factory = registry.get("domain", domain).factory
    if not isinstance(factory, RenderedDomain):
        raise DomtransError(f"the domain '{domain}' is not a rendered domain; use one such as avatars")
    rendered = factory.rendered(split, size, **registry.arguments("domain", use(domain, **given)))
    rendered = replace(rendered, count=count or rendered.count)
    shards, share = Shards(rendered, folder, shard), ProcessShare(launcher.rank(), launcher.size())
    shards.prepare({"domain": domain, "split": split})
    missing = shards.missing(share)
    total, start = sum(end - first for first, end in missing.values()), time.perf_counter()
    with stop_on_signals() as stop:
        try:
            with run_context(stop, registry=registry, quiet=quiet) as context:

                def report(done: int) -> None:
                    rate = {"images_per_second": done / (time.perf_counter() - start)} if done else {}
                    context.listener(Progress("render", done, total, rate))
                    if stop.is_set():
                        raise Stopped

                shards.write(missing, workers or launcher.cores(), report)
        except (Stopped, KeyboardInterrupt):
            finished = len(missing) - len(shards.missing(share))
            done = f"stopped; {finished} of {len(missing)} shards are finished"
            terminal.print_note(f"{done}; the next one is written again from its first image")
            terminal.print_note(f"continue with: {shlex.join([*launcher.command(), *sys.argv[1:]])}")
            raise typer.Exit(INTERRUPTED) from None
    shard_count = f"{len(missing)} shard{'' if len(missing) == 1 else 's'}"
    typer.echo(f"wrote {total:,} images to {folder} in {shard_count}" if missing else f"{folder} is already complete")
