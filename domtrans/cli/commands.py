"""All commands: a thin layer over the calls that ``import domtrans`` offers.

Nothing here imports torch, or anything that does, before a command runs: ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

import domtrans
from domtrans.cli import (
    bench,
    check_plugin,
    compare,
    demo,
    inspect,
    install,
    make,
    models,
    render,
    report,
    reproduce,
    share,
    show,
    sweep,
    transfer,
)
from domtrans.cli.exit_codes import INTERRUPTED, SOME_FAILED
from domtrans.cli.shared import (
    Changes,
    DataChanges,
    Device,
    Json,
    MaxTime,
    Project,
    Quiet,
    RecipeName,
    RunPath,
    Track,
    Verbose,
    explain,
    load_plugins,
    run_context,
)
from domtrans.compute import launcher
from domtrans.errors import DomtransError, Stopped

DISTRIBUTED_COMMANDS = ("train", "evaluate", "transfer", "make")
"""Commands that several processes of torchrun or srun can work on together."""


Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command. For an unknown option it says how a change to the recipe is written, if it takes such changes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command."""
        try:
            return super().parse_args(ctx, args)
        except Exception as fault:
            error: Any = fault
            if hasattr(error, "option_name") and any(each.name == "changes" for each in self.params):
                error.possibilities = []
                error.message += "; an option of the recipe is written without dashes, e.g. train.steps=2000"
            raise


class App(typer.Typer):
    """All commands."""

    def command(self, *args: Any, **settings: Any) -> Callable[[Function], Function]:
        """Register a function as a command."""
        return super().command(*args, **{"cls": Command, **settings})


app = App(
    help="Train, measure and use image domain transfer: G(x) = g(f(x)) turns images of one domain into another.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"domtrans {domtrans.__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that come before a command."""
    command = context.invoked_subcommand
    if launcher.size() > 1 and command not in DISTRIBUTED_COMMANDS:
        names = ", ".join(DISTRIBUTED_COMMANDS)
        by = launcher.name()
        raise DomtransError(f"{by} can start {names} only in several processes; run `domtrans {command}` without {by}")


@app.command(
    help=explain(
        "Train a recipe into a run folder, and measure the result.",
        "domtrans train digits-dtn",
        "domtrans train digits-dtn source=svhn target=mnist train.steps=2000 --out runs/paper-data",
        "domtrans train digits-dtn --out runs/digits-dtn --resume",
        "torchrun --nproc-per-node 2 -m domtrans train digits-dtn",
    )
)
def train(
    recipe: RecipeName,
    changes: Changes = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The run folder, or an address such as s3://bucket/run.  [default: runs/RECIPE; with --resume, RECIPE if it "
            "is a run]",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder. train.steps and intervals may differ.")
    ] = False,
    allow_changes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=VALUE|data", help="With --resume: allow this change to the recipe, or other data; repeatable."
        ),
    ] = None,
    track: Track = None,
    max_time: MaxTime = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--time", metavar="DURATION", help="Set train.steps to what fits into this time here, e.g. 30m; measured once."
        ),
    ] = None,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same as seed=N.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.cli.interrupt import stop_on_signals
    from domtrans.cli.time_budget import with_steps_for
    from domtrans.evaluation.metric_rows import declared_values
    from domtrans.runs.folder import default_folder
    from domtrans.runs.published_folder import local_copy
    from domtrans.storage.address import as_address, is_remote
    from domtrans.storage.run_files import RECIPE_FILE

    changes = [*(changes or []), *([] if seed is None else [f"seed={seed}"])]
    is_main = launcher.rank() == 0  # of several processes, only the first prints, unless another fails
    registry = load_plugins().registry
    resolved = domtrans.find_recipe(recipe, registry, changes)
    if out is None:
        is_run = is_remote(recipe) or (Path(recipe) / RECIPE_FILE).is_file()
        out = Path(recipe) if resume and is_run else default_folder(resolved.name)
    place = as_address(out) if is_remote(out) else str(out)
    options = [] if device == "auto" else ["--device", device]
    options += [word for change in allow_changes or [] for word in ("--allow-changes", change)]
    options += [word for tracker in track or [] for word in ("--track", tracker)]
    options += [] if max_time is None else ["--max-time", max_time]
    options += [] if duration is None else ["--time", duration]
    command = shlex.join([*launcher.command(), "train", recipe, *changes, "--out", place, *options, "--resume"])
    with stop_on_signals(max_time) as stop:
        try:
            with run_context(stop, registry=registry, quiet=quiet, verbose=verbose) as context:
                if duration is not None:
                    resolved = with_steps_for(resolved, duration, changes, local_copy(out), context, device=device)
                run = domtrans.train(
                    resolved,
                    out,
                    device=device,
                    resume=resume,
                    allow_changes=allow_changes or [],
                    registry=registry,
                    progress=False,
                    listeners=context.listener,
                    stop=stop,
                    track=track or [],
                )
        except Stopped as stopped:
            if not is_main:
                raise typer.Exit(INTERRUPTED) from None
            saved = "" if (local_copy(out) / "training.safetensors").is_file() else "; the training of g and D had not begun"
            terminal.print_note(stop.explain(f"{stopped}{saved}"))
            terminal.print_note(f"continue with: {command}")
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            terminal.print_note(f"aborted; what was saved before is intact; continue with: {command}")
            raise typer.Exit(INTERRUPTED) from None
    if is_main:
        terminal.show_results(run.results, run.path, declared_values(run.registry, run.recipe), place)


@app.command(
    help=explain(
        "Measure a trained run on its test images, or on other data.",
        "domtrans evaluate runs/digits-dtn",
        "domtrans evaluate runs/digits-dtn source=arrays source.path=svhn_test.npz --json",
        "torchrun --nproc-per-node 4 -m domtrans evaluate runs/digits-dtn",
    )
)
def evaluate(
    run: RunPath,
    changes: DataChanges = None,
    project: Project = False,
    as_json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.compute.distributed import local_device, process_group
    from domtrans.evaluation.evaluate import with_other_data
    from domtrans.evaluation.metric_rows import declared_values

    start = time.perf_counter()
    device = local_device(device)
    with run_context(quiet=quiet) as context, process_group(device, threading.Event()) as group:
        loaded = context.load(run, device)
        loaded.session = replace(loaded.session, group=group)
        loaded = loaded.project(progress=False) if project else loaded
        if not with_other_data(loaded.recipe, changes or [], loaded.registry).metrics:
            raise DomtransError(
                f"the recipe of {run} has no metrics, so nothing can be measured; name one, e.g. metrics.image=image-realism "
                "('domtrans show metric' lists all)"
            )
        results = loaded.evaluate(changes or [], progress=False)
        group.barrier()  # torchrun ends the others as soon as one process ends with an error
    if not group.is_main:
        return
    if as_json:
        terminal.print_json(results)
        return
    computed = {
        "device": str(loaded.session.device),
        "precision": str(loaded.session.dtype).removeprefix("torch."),
        "seconds": {"evaluation": round(time.perf_counter() - start, 1)},
    }
    terminal.show_results(computed | results, loaded.path, declared_values(loaded.registry, loaded.recipe))


@app.command(
    help=explain(
        "Measure a finished run again and compare. The exit code is 1 if a value differs from the recorded one.",
        "domtrans verify runs/digits-dtn",
        "domtrans verify runs/digits-dtn --json",
        "domtrans verify packed --files",
        "domtrans verify packed --key publisher.pem",
    )
)
def verify(
    run: RunPath,
    files: Annotated[
        bool, typer.Option("--files", help="Measure nothing; check that every file is whole and has its checksum.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check the files, and that they are signed with this public key, Ed25519 or ECDSA."),
    ] = None,
    as_json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    if files or key:
        checked = domtrans.verify_files(run, key=key)
        if as_json:
            terminal.print_json([asdict(file) for file in checked])
        else:
            terminal.show_checked_files(checked, key)
        failed = any(file.fault for file in checked)
    else:
        with run_context(quiet=quiet) as context:
            verification = domtrans.verify(context.load(run, device), progress=False)
        if as_json:
            terminal.print_json(verification.to_json())
        else:
            terminal.show_verification(verification)
        failed = bool(verification.differences)
    if failed:
        raise typer.Exit(SOME_FAILED)


transfer.add_to(app)
render.add_to(app)
share.add_to(app)
demo.add_to(app)
report.add_to(app)
compare.add_to(app)
reproduce.add_to(app)
sweep.add_to(app)
bench.add_to(app)
make.add_to(app)
inspect.add_to(app)
models.add_to(app)
show.add_to(app)
install.add_to(app)
check_plugin.add_to(app)
