"""``domtrans demo``: a local web page for trying a run with one's own images."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from domtrans.cli.shared import Device, RunPath, explain, run_context

Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port, or the next free one.")]
Host = Annotated[str, typer.Option(metavar="HOST", help="The address to listen at. Any other lets other machines in.")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Only print the address; do not open a browser.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Try a run in the browser. Draw, upload an image or use the camera.",
            "domtrans demo runs/digits-dtn",
            "domtrans demo runs/digits-dtn --port 8000 --no-browser",
        )
    )(demo)


def demo(
    run: RunPath, port: Port = 7860, host: Host = "127.0.0.1", no_browser: NoBrowser = False, device: Device = "auto"
) -> None:
    """Run the command."""
    import webbrowser

    from domtrans.cli import terminal
    from domtrans.demo.demo import Demo
    from domtrans.demo.serve import browser_address, listen, serve

    with listen(host, port) as listening:
        with run_context() as context:
            content = Demo(context.load(run, device))
        for sentence in content.missing:
            terminal.print_warning(sentence)
        address = browser_address(listening)
        name, milliseconds = content.run.recipe.name, content.median_milliseconds()
        typer.echo(f"{address} shows {name}; an image takes {milliseconds:.0f} ms; Ctrl-C stops it")
        sys.stdout.flush()
        if not no_browser:
            webbrowser.open(address)  # the socket is listening already, so the browser waits
        try:
            serve(content, listening)
        except KeyboardInterrupt:
            typer.echo("")
