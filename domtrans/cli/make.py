"""The command that draws a data set into files: make."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from domtrans.cli.shared import INTERRUPTED, Quiet, explain, load_plugins
from domtrans.compute import torchrun
from domtrans.errors import DomtransError, Stopped

MOST_IN_A_SHARD = 100_000
"""Pictures; a shard is put together in memory."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Draw a domain's pictures into WebDataset shards. Given again, it goes on where it stopped.",
            "domtrans make avatars avatars-1m --count 1000000",
            'domtrans make avatars big-hair style=micah \'shares={"hair_length": {"long": 1}}\'',
            "torchrun --nproc-per-node 4 -m domtrans make avatars avatars-1m --count 1000000",
        )
    )(make)


def make(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain that is drawn, such as avatars.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the shards.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="OPTION=VALUE", help="Options of the domain; `domtrans show domain DOMAIN`.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pictures in all.", show_default="the domain's own")
    ] = None,
    size: Annotated[int, typer.Option(min=8, max=1024, metavar="PIXELS", help="Side of a picture.")] = 96,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="train or test.")] = "train",
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same as seed=N.")] = None,
    shard: Annotated[int, typer.Option(min=1, max=MOST_IN_A_SHARD, metavar="N", help="Pictures in a shard.")] = 10_000,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that draw.", show_default="one for every core")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """See the help above."""
    from domtrans.cli import progress, terminal
    from domtrans.data.rendered import DrawnDomain
    from domtrans.data.shard_writer import Shards, Share
    from domtrans.recipe.overrides import parse
    from domtrans.recipe.schema import use
    from domtrans.session import Progress

    registry = load_plugins().registry
    if split not in ("train", "test"):
        raise DomtransError(f"a split is train or test, not '{split}'")
    given = dict(parse(options or [])) | ({} if seed is None else {"seed": seed})
    factory = registry.get("domain", domain).factory
    if not isinstance(factory, DrawnDomain):
        raise DomtransError(f"the domain '{domain}' is not drawn but read as it is, so there is nothing to make")
    drawn = factory.drawn(split, size, **registry.arguments("domain", use(domain, **given)))
    drawn = replace(drawn, count=count or drawn.count)
    shards, share = Shards(drawn, out, shard), Share(torchrun.rank(), torchrun.size())
    shards.prepare({"domain": domain, "split": split})
    missing = shards.missing(share)
    total, began = sum(last - first for first, last in missing.values()), time.perf_counter()
    with progress.stop_on_signals() as stop:
        try:
            with progress.watch(stop, quiet=quiet or torchrun.rank() > 0) as listener, redirect_stdout(sys.stderr):

                def report(done: int) -> None:
                    rate = {"images_per_second": done / (time.perf_counter() - began)} if done else {}
                    listener(Progress("drawing", done, total, rate))
                    if stop.is_set():
                        raise Stopped

                shards.write(missing, workers or max(1, torchrun.cores()), report)
        except (Stopped, KeyboardInterrupt):
            whole = len(missing) - len(shards.missing(share))
            terminal.tell(f"stopped; {whole} of {len(missing)} shards were finished, and what was drawn of the next is lost")
            terminal.tell(f"go on with: {shlex.join([*torchrun.command(), *sys.argv[1:]])}")
            raise typer.Exit(INTERRUPTED) from None
    shards_made = f"{len(missing)} shard{'' if len(missing) == 1 else 's'}"
    typer.echo(f"wrote {total:,} pictures to {out} in {shards_made}" if missing else f"{out} is complete already")
