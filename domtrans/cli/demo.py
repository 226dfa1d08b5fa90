"""``domtrans demo``: a page to try a run on one's own pictures."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from domtrans.cli.shared import Device, RunPath, explain, run_context

Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; where it is taken, the next that is free.")]
Host = Annotated[str, typer.Option(metavar="HOST", help="The address to listen at; any but this one lets others in.")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Open no browser; print the address alone.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Try a run in the browser. Draw, upload or hold something into the camera.",
            "domtrans demo runs/digits-dtn",
            "domtrans demo runs/digits-dtn --port 8000 --no-browser",
        )
    )(demo)


def demo(
    run: RunPath, port: Port = 7860, host: Host = "127.0.0.1", no_browser: NoBrowser = False, device: Device = "auto"
) -> None:
    """See the help above."""
    import webbrowser

    from domtrans.cli import terminal
    from domtrans.demo.demo import Demo
    from domtrans.demo.serve import address, listen, serve

    with listen(host, port) as listening:
        with run_context() as context:
            shown = Demo(context.load(run, device))
        for gap in shown.gaps:
            terminal.print_warning(gap)
        where = address(listening)
        typer.echo(f"{where} shows {shown.run.recipe.name}; a picture takes {shown.pace():.0f} ms; Ctrl-C ends it")
        sys.stdout.flush()
        if not no_browser:
            webbrowser.open(where)  # it finds the socket listening already, and waits
        try:
            serve(shown, listening)
        except KeyboardInterrupt:
            typer.echo("")
