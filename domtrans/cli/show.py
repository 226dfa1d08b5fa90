"""The commands that look around and begin a plugin: recipes, plugins, show, doctor, new-plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domtrans.cli.completion import complete_part_or_change, complete_shown
from domtrans.cli.shared import SOME_FAILED, Json, explain, find_recipe, load_plugins
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from domtrans.registry.plugins import Plugins

Shown = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|KIND",
        autocompletion=complete_shown,
        help="A recipe (or its file, or a run's folder); or a kind of part, such as encoder.",
    ),
]
NameOrChanges = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE|NAME",
        autocompletion=complete_part_or_change,
        help="Changes to the recipe; or, after a kind, the name of a part.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which --help lists them."""
    app.command(help=explain("List the recipes that can be trained.", "domtrans recipes", "domtrans recipes --json"))(recipes)
    app.command(
        help=explain(
            "Print a recipe with all its options, or describe a part.",
            "domtrans show digits-dtn",
            "domtrans show digits-dtn source=svhn --toml > my.toml",
            "domtrans show encoder",
            "domtrans show encoder digit-encoder",
        )
    )(show)
    app.command(
        name="plugins",
        help=explain(
            "List installed plugins. What each registers; broken ones with the reason.",
            "domtrans plugins",
            "domtrans plugins --verbose",
            "DOMTRANS_PLUGINS= domtrans plugins",
        ),
    )(list_plugins)
    app.command(
        help=explain(
            "Check what domtrans needs. Python, torch and the device, packages, plugins, the cache folder, free disk.",
            "domtrans doctor",
            "domtrans doctor --json",
        )
    )(doctor)
    app.command(
        name="new-plugin",
        help=explain(
            "Write a complete package with a plugin to begin from. With a test that passes.",
            "domtrans new-plugin my-digits",
            "domtrans new-plugin my-features --kind encoder",
        ),
    )(new_plugin)


def recipes(as_json: Json = False) -> None:
    """See the help above."""
    from domtrans.cli import terminal

    registry = load_plugins().registry
    found = [registry.get("recipe", name) for name in registry.names("recipe")]
    if as_json:
        terminal.print_json([{"name": one.name, "description": one.summary, "plugin": one.owner} for one in found])
    else:
        terminal.show_table(("recipe", "plugin", "description"), [(one.name, one.owner, one.summary) for one in found])


def show(
    recipe: Shown,
    changes: NameOrChanges = None,
    as_toml: Annotated[bool, typer.Option("--toml", help="Print a recipe as TOML, to edit and train.")] = False,
    as_json: Json = False,
) -> None:
    """See the help above."""
    from domtrans.cli import terminal
    from domtrans.registry.registry import KINDS

    plugins = load_plugins()
    if recipe in KINDS and not any("=" in change for change in changes or []):
        if as_toml:
            raise DomtransError("--toml prints recipes; a part is shown as text or with --json")
        show_parts(plugins, recipe, changes or [], as_json=as_json)
        return
    found = find_recipe(recipe, changes or [], plugins.registry)
    if as_toml:
        from domtrans.recipe.files import to_toml

        terminal.print_code(to_toml(found, plugins.registry), "toml")
    else:
        terminal.print_code(found.to_json(), "json")


def show_parts(plugins: Plugins, kind: str, names: list[str], *, as_json: bool) -> None:
    """One part with its options, or every part of a kind."""
    from domtrans.cli import terminal
    from domtrans.registry.describe import describe

    registry = plugins.registry
    if not names:
        found = [registry.get(kind, name) for name in registry.names(kind)]
        if as_json:
            terminal.print_json([describe(entry).to_json() for entry in found])
        else:
            terminal.show_table((kind, "plugin", "description"), [(one.name, one.owner, one.summary) for one in found])
        return
    if len(names) > 1:
        raise DomtransError(f"`domtrans show {kind} NAME` shows one {kind}, not {len(names)}")
    part = describe(registry.get(kind, names[0]))
    if as_json:
        terminal.print_json(part.to_json())
    else:
        terminal.show_part(part)


def list_plugins(
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the full trace of broken plugins.")] = False,
) -> None:
    """See the help above."""
    from domtrans.cli import terminal

    plugins = load_plugins(warn=False)
    found = []
    for info in plugins.infos:
        parts: dict[str, list[str]] = {}
        for entry in plugins.registry:
            if entry.owner == info.name:
                parts.setdefault(entry.kind, []).append(entry.name)
        described: dict[str, Any] = {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "module": info.module,
            "interface": info.interface,
            "error": info.error,
            "advice": info.advice,
            "registers": parts,
        }
        found.append(described | ({"details": info.details} if verbose else {}))
    if as_json:
        terminal.print_json(found)
    else:
        terminal.show_plugins(found)


def doctor(as_json: Json = False) -> None:
    """See the help above."""
    import sys
    from contextlib import redirect_stdout
    from dataclasses import asdict

    from domtrans.cli import terminal
    from domtrans.cli.doctor import diagnose, is_healthy

    with redirect_stdout(sys.stderr):  # plugins may print what they like
        findings = diagnose()
    if as_json:
        terminal.print_json({"healthy": is_healthy(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        terminal.show_findings(findings)
    if not is_healthy(findings):
        raise typer.Exit(SOME_FAILED)


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the part; the package is called domtrans-NAME.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="domain, encoder, loss, distance, recipe or metric.")] = "domain",
    parent: Annotated[Path, typer.Option("--in", metavar="FOLDER", help="Where to put the package's folder.")] = Path(),
) -> None:
    """See the help above."""
    from domtrans.cli.scaffold import new_plugin as write

    folder = write(name, kind, parent, registry=load_plugins().registry)
    typer.echo(f"wrote {folder}; next: cd {folder} && pip install -e '.[dev]' && pytest")
