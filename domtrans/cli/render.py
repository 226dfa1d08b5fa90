"""``domtrans render``: files of parameters become pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

import domtrans
from domtrans.cli.exit_codes import SOME_FAILED
from domtrans.cli.shared import Out, explain, load_plugins
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from domtrans.inference.options import Format


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Draw parameters that `domtrans transfer --parameters` wrote. The exit code is 1 if some failed.",
            "domtrans render avatar.json avatar.svg",
            "domtrans render avatar.json avatar.png --size 1024",
            "domtrans render parameters/ avatars/ --format png",
            "domtrans render --schema avatars style=micah",
        )
    )(render)


def render(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PARAMETERS OUTPUT", help="A JSON file and a picture, or a folder of JSON files and a folder."),
    ],
    out: Out = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the pictures.  [default: 512; an SVG fills its place]")
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Format of a folder's pictures: svg, png, jpg or webp.  [default: svg]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files that domtrans did not write.")] = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON schema of such files; the arguments are a domain and its options."),
    ] = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    if schema:
        if out is not None or size is not None or format is not None or force:
            raise DomtransError("--schema prints a schema; it takes no --out, --size, --format and --force")
        typer.echo(json.dumps(_schema(*paths), indent=2))
        return
    words = [*paths, *([str(out)] if out else [])]
    if len(words) != 2:
        raise DomtransError("give the parameters and the output: domtrans render avatar.json avatar.svg")
    source, destination = map(Path, words)
    done = domtrans.render(
        source, destination, size=size, format=cast("Format | None", format), force=force, registry=load_plugins().registry
    )
    for _, reason in done.failed:
        terminal.print_note(f"skipped: {reason}")
    for note in done.notes:
        terminal.print_note(note)
    count = len(done.written)
    typer.echo(f"wrote {done.written[0] if source.is_file() else f'{count:,} pictures to {destination}'}")
    if done.failed:
        raise typer.Exit(SOME_FAILED)


def _schema(domain: str, *options: str) -> dict[str, object]:
    """The JSON schema of the files of parameters for a domain."""
    from domtrans.data.drawings import find_named_engine
    from domtrans.recipe.overrides import parse
    from domtrans.recipe.schema import use

    return find_named_engine(load_plugins().registry, use(domain, **dict(parse(list(options))))).json_schema()
