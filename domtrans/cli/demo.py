"""``domtrans demo``: a local web page for trying a run with one's own images."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import domtrans
from domtrans.cli.completion import complete_run
from domtrans.cli.shared import RUN_HELP, Device, Project, explain, run_context
from domtrans.errors import DomtransError

OptionalRun = Annotated[
    str | None,
    typer.Argument(metavar="RUN", autocompletion=complete_run, help=f"{RUN_HELP}  [default: all models of domtrans]"),
]
Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port, or the next free one.")]
Host = Annotated[str, typer.Option(metavar="HOST", help="The address to listen at. Any other lets other machines in.")]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        envvar="DOMTRANS_TOKEN",
        help="Answer only those who know this token. Use it wherever other machines can reach the demo.",
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Only print the address; do not open a browser.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "Try a run in the browser, or from a program by HTTP. Without RUN, the page has the models of domtrans.",
            "domtrans demo",
            "domtrans demo runs/digits-dtn",
            "domtrans demo runs/digits-dtn --port 8000 --no-browser",
            "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' localhost:8000/v1/transfer -o made.png",
        )
    )(demo)


def demo(
    run: OptionalRun = None,
    port: Port = 7860,
    host: Host = "127.0.0.1",
    token: Token = None,
    no_browser: NoBrowser = False,
    project: Project = False,
    device: Device = "auto",
) -> None:
    """Run the command."""
    import webbrowser

    from domtrans.cli import terminal
    from domtrans.demo.serve import browser_address, host_names, listen, serve

    if project and run is None:
        raise DomtransError("--project needs a run: domtrans demo RUN --project")
    with listen(host, port) as listening:
        from domtrans.demo.access import TokenRequired, check_token
        from domtrans.demo.app import create_app
        from domtrans.demo.demo import Demo
        from domtrans.demo.models import create_models_app

        if token is not None:
            check_token(token)
        hosts = host_names(listening)
        with run_context() as context:
            if run is None:
                models, registry = domtrans.list_models(), context.registry
                app = create_models_app(models, lambda name: domtrans.load(name, device=device, registry=registry), hosts=hosts)
                shown = ", ".join(model.name for model in models)
            else:
                loaded = context.load(run, device)
                content = Demo(loaded.project(progress=False) if project else loaded)
                app = create_app(content, hosts=hosts)
                shown = f"{content.run.recipe.name}; an image takes {content.median_milliseconds():.0f} ms"
        for sentence in [] if run is None else content.missing:
            terminal.print_warning(sentence)
        address = browser_address(listening) + ("" if token is None else f"?token={token}")
        typer.echo(f"{address} shows {shown}; Ctrl-C stops it")
        sys.stdout.flush()
        if not no_browser:
            webbrowser.open(address)  # the socket is listening already, so the browser waits
        try:
            serve(app if token is None else TokenRequired(app, token), listening)
        except KeyboardInterrupt:
            typer.echo("")
