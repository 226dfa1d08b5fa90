"""The commands about what is installed, and the one that writes a new plugin: recipes, show, plugins, doctor, new-plugin."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import domtrans
from domtrans.cli.completion import complete_kind, complete_part_or_change, complete_shown
from domtrans.cli.exit_codes import SOME_FAILED
from domtrans.cli.shared import Json, explain, load_plugins
from domtrans.errors import DomtransError

if TYPE_CHECKING:
    from domtrans.registry.plugins import Plugins

Shown = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE|KIND",
        autocompletion=complete_shown,
        help="A recipe, its file, or a run folder; or a kind of part, such as encoder.",
    ),
]
NameOrChanges = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE|NAME",
        autocompletion=complete_part_or_change,
        help="Changes to the recipe; after a kind, the name of a part.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands, in the order in which --help lists them."""
    app.command(help=explain("List the recipes.", "domtrans recipes", "domtrans recipes --json"))(recipes)
    app.command(
        help=explain(
            "Print a recipe with all its options, or describe a part.",
            "domtrans show digits-dtn",
            "domtrans show digits-dtn source=svhn --toml > my.toml",
            "domtrans show --schema > domtrans.schema.json",
            "domtrans show encoder",
            "domtrans show encoder digit-encoder",
        )
    )(show)
    app.command(
        name="plugins",
        help=explain(
            "List the installed plugins. Shows what each registers, and why a broken one was skipped.",
            "domtrans plugins",
            "domtrans plugins --verbose",
            "DOMTRANS_PLUGINS= domtrans plugins",
        ),
    )(list_plugins)
    app.command(
        help=explain(
            "Check the installation, and say how to fix it. Covers Python, torch, device, packages, plugins, cache and disk.",
            "domtrans doctor",
            "domtrans doctor --json",
        )
    )(doctor)
    app.command(
        name="new-plugin",
        help=explain(
            "Write a plugin package to start from, with a passing test.",
            "domtrans new-plugin my-digits",
            "domtrans new-plugin my-features --kind encoder",
            "domtrans new-plugin my-drawings --kind generator",
        ),
    )(new_plugin)


def recipes(as_json: Json = False) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    registry = load_plugins().registry
    entries = [registry.get("recipe", name) for name in registry.names("recipe")]
    if as_json:
        terminal.print_json([{"name": one.name, "description": one.summary, "plugin": one.owner} for one in entries])
    else:
        terminal.show_entries("recipe", entries)


def show(
    recipe: Shown = None,
    changes: NameOrChanges = None,
    as_toml: Annotated[bool, typer.Option("--toml", help="Print the recipe as TOML, to edit and train.")] = False,
    as_json: Json = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipe files, for editors that complete and check them.")
    ] = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.recipe.data import python_domains
    from domtrans.registry.registry import KINDS

    if as_toml and as_json:
        raise DomtransError("--toml and --json are two forms; choose one of them")
    recipe = {kind.plural: kind.name for kind in KINDS.values()}.get(recipe or "", recipe)
    plugins = load_plugins()
    if schema:
        if recipe is not None:
            raise DomtransError(f"the schema is that of all recipes; leave out {recipe}")
        terminal.print_json(domtrans.recipe_schema(plugins.registry))
        return
    if recipe is None:
        raise DomtransError(f"name a recipe (`domtrans recipes` lists them) or a kind of part ({', '.join(KINDS)})")
    if recipe in KINDS and not any("=" in change for change in changes or []):
        if as_toml:
            raise DomtransError("--toml prints recipes only; leave it out, or print the part with --json")
        show_parts(plugins, recipe, changes or [], as_json=as_json)
        return
    resolved = domtrans.find_recipe(recipe, plugins.registry, changes or [])
    if python_domains(resolved):
        names = " and the ".join(python_domains(resolved))
        terminal.print_note(f"the {names} of this recipe came from Python, so the recipe alone cannot be trained again")
    if as_toml:
        from domtrans.recipe.files import to_toml

        terminal.print_code(to_toml(resolved, plugins.registry), "toml")
    else:
        terminal.print_code(resolved.to_json(), "json")


def show_parts(plugins: Plugins, kind: str, names: list[str], *, as_json: bool) -> None:
    """Print one part with its options, or list every part of a kind."""
    from domtrans.cli import terminal
    from domtrans.registry.describe import describe

    registry = plugins.registry
    if not names:
        entries = [registry.get(kind, name) for name in registry.names(kind)]
        if as_json:
            terminal.print_json([describe(entry).to_json() for entry in entries])
        else:
            terminal.show_entries(kind, entries)
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
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the full traceback of broken plugins.")] = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    plugins = load_plugins(warn=False)
    records = []
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
        records.append(described | ({"details": info.details} if verbose else {}))
    if as_json:
        terminal.print_json(records)
    else:
        terminal.show_plugins(records)


def doctor(as_json: Json = False) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.cli.doctor import diagnose, is_healthy

    with redirect_stdout(sys.stderr):  # plugins may print what they like
        findings = diagnose()
    if as_json:
        records = [asdict(finding) | {"mend": finding.fix} for finding in findings]  # "mend": the old name of "fix"
        terminal.print_json({"healthy": is_healthy(findings), "findings": records})
    else:
        terminal.show_findings(findings)
    if not is_healthy(findings):
        raise typer.Exit(SOME_FAILED)


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the part; the package is called domtrans-NAME.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            autocompletion=complete_kind,
            help="Kind of the part: domain, encoder, fit, generator, discriminator, loss, optimizer, distance, augmentation, "
            "metric, detector, recipe, study or tracker.",
        ),
    ] = "domain",
    parent: Annotated[Path, typer.Option("--in", metavar="FOLDER", help="Parent folder of the package.")] = Path(),
) -> None:
    """Run the command."""
    from domtrans.cli.scaffold import new_plugin as write

    folder = write(name, kind, parent, registry=load_plugins().registry)
    typer.echo(f"wrote {folder}; next: cd {folder} && pip install -e '.[dev]' && pytest")
