"""The commands about packages with plugins: install, uninstall, check-plugin."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from domtrans.cli.shared import SOME_FAILED, Json, explain, load_plugins
from domtrans.errors import DomtransError


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(
        help=explain(
            "Install packages with plugins for this domtrans. They go into the environment that it runs in, also one of uv or "
            "pipx. A plugin is code: install only what you trust.",
            "domtrans install domtrans-kmnist",
            "domtrans install -e ./domtrans-rings",
        )
    )(install)
    app.command(
        help=explain(
            "Remove packages with plugins of this domtrans.",
            "domtrans uninstall domtrans-kmnist",
        )
    )(uninstall)
    app.command(
        name="check-plugin",
        help=explain(
            "Check an installed plugin, and report. It must load and state interface and licence, and every part must keep the "
            "contracts of its kind. The exit code is 1 if something is wrong.",
            "domtrans check-plugin domtrans-rings",
            "domtrans check-plugin domtrans-rings rings.count=8 --json",
        ),
    )(check_plugin)


def install(
    packages: Annotated[
        list[str] | None, typer.Argument(metavar="PACKAGE", help="A name, a folder, a file or an address, as pip takes it.")
    ] = None,
    editable: Annotated[
        list[Path] | None, typer.Option("--editable", "-e", metavar="DIR", help="Use the code in this folder; repeatable.")
    ] = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", "-U", help="Install the newest version.")] = False,
) -> None:
    """Run the command."""
    words = [*(packages or []), *(word for folder in editable or [] for word in ("--editable", str(folder)))]
    if not words:
        raise DomtransError("there is nothing to install; name a package, or a folder with -e")
    before = _plugins()
    _run([*_installer("install"), *(["--upgrade"] if upgrade else []), *words])
    for plugin in _plugins():
        if plugin not in before:
            parts = "; ".join(f"{kind} {', '.join(names)}" for kind, names in plugin["registers"].items())
            state = f"cannot be loaded: {plugin['error']}" if plugin["error"] else f"registers {parts or 'nothing'}"
            typer.echo(f"plugin {plugin['name']} of {plugin['distribution']} {plugin['version']} {state}")


def uninstall(packages: Annotated[list[str], typer.Argument(metavar="PACKAGE", help="The name of a package.")]) -> None:
    """Run the command."""
    known = {_normalised(plugin.distribution) for plugin in load_plugins(warn=False).infos} - {"domtrans"}
    for package in packages:
        if _normalised(package) not in known:
            others = f"; the installed ones are {', '.join(sorted(known))}" if known else ""
            raise DomtransError(f"{package} is not an installed package with a plugin{others}")
    _run([*_installer("uninstall"), *packages])


def check_plugin(
    plugin: Annotated[str, typer.Argument(metavar="PLUGIN", help="The name of a plugin or of its package.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="PART.OPTION=VALUE", help="Options of its parts, e.g. small sizes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal
    from domtrans.recipe.overrides import parse
    from domtrans.testing import plugins

    given: dict[str, dict[str, Any]] = {}
    for path, value in parse(options):
        part, _, option = path.partition(".")
        given.setdefault(part, {})[option] = value
    with redirect_stdout(sys.stderr):
        findings = plugins.check_plugin(plugin, given)
    if as_json:
        terminal.print_json([asdict(finding) for finding in findings])
    else:
        outcomes = [finding.fault or (f"not checked: {finding.skipped}" if finding.skipped else "ok") for finding in findings]
        rows = [[finding.subject, finding.check, outcome] for finding, outcome in zip(findings, outcomes, strict=True)]
        terminal.show_table(["", "check", "outcome"], rows)
    if any(finding.fault for finding in findings):
        raise typer.Exit(SOME_FAILED)


def _installer(command: str) -> list[str]:
    """The command line that installs into this environment, or uninstalls from it."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", command, *(["--yes"] if command == "uninstall" else [])]
    if uv := shutil.which("uv"):  # an environment that uv made has no pip
        return [uv, "pip", command, "--python", sys.executable]
    raise DomtransError(
        f"neither pip nor uv can be found for {sys.executable}; install uv, or inject the package with the tool that installed "
        "domtrans"
    )


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise DomtransError(f"{Path(command[0]).name} has failed, for the reason above")


def _plugins() -> list[dict[str, Any]]:
    """The installed plugins, as a new process finds them."""
    listed = subprocess.run([sys.executable, "-m", "domtrans", "plugins", "--json"], check=True, capture_output=True, text=True)
    plugins: list[dict[str, Any]] = json.loads(listed.stdout)
    return plugins


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
