"""``domtrans models``: the trained runs that come with domtrans."""

from __future__ import annotations

from dataclasses import asdict

import typer

import domtrans
from domtrans.cli.shared import Json, explain, load_plugins


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        help=explain(
            "List the trained models that come with domtrans. models:NAME is accepted wherever a run is.",
            "domtrans models",
            "domtrans models --json",
        )
    )(models)


def models(as_json: Json = False) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.evaluation.metric_rows import declared_values, metric_rows

    found = domtrans.list_models()
    if as_json:
        terminal.print_json([asdict(model) | {"folder": str(model.folder)} for model in found])
        return
    values = declared_values(load_plugins().registry)
    rows = []
    for model in found:
        main = [f"{row.label} {row.text}" for row in metric_rows(model.results, values) if row.main]
        rows.append((model.name, f"{model.size / 1e6:.1f} MB", model.licence, ", ".join(main), model.description))
    terminal.show_table(("model", "size", "licence", "measured", "description"), rows)
