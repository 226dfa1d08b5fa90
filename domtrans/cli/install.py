"""The commands that install and remove packages with plugins."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.utils import canonicalize_name

from domtrans.cli.shared import explain, load_plugins
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
    new = [plugin for plugin in _plugins() if plugin not in before]
    for plugin in new:
        parts = "; ".join(f"{kind} {', '.join(names)}" for kind, names in plugin["registers"].items())
        state = f"cannot be loaded: {plugin['error']}" if plugin["error"] else f"registers {parts or 'nothing'}"
        typer.echo(f"plugin {plugin['name']} of {plugin['distribution']} {plugin['version']} {state}")
    if not new:
        typer.echo("no new plugin was installed; `domtrans plugins` lists the installed ones")


def uninstall(packages: Annotated[list[str], typer.Argument(metavar="PACKAGE", help="The name of a package.")]) -> None:
    """Run the command."""
    known = {str(canonicalize_name(plugin.distribution)) for plugin in load_plugins(warn=False).infos} - {"domtrans"}
    for package in packages:
        if canonicalize_name(package) not in known:
            others = f"; the installed ones are {', '.join(sorted(known))}" if known else ""
            raise DomtransError(f"{package} is not an installed package with a plugin{others}")
    _run([*_installer("uninstall"), *packages])


def uses_pip() -> bool:
    """Whether pip is in this environment. One that uv made has none."""
    return importlib.util.find_spec("pip") is not None


def uv() -> str:
    """The path of uv, which serves where there is no pip. Raises DomtransError if it cannot be found."""
    if found := shutil.which("uv"):
        return found
    raise DomtransError(
        f"neither pip nor uv can be found for {sys.executable}; install uv, or inject the package with the tool that installed "
        "domtrans"
    )


def _installer(command: str) -> list[str]:
    """The command line that installs into this environment, or uninstalls from it."""
    if uses_pip():
        return [sys.executable, "-m", "pip", command, *(["--yes"] if command == "uninstall" else [])]
    return [uv(), "pip", command, "--python", sys.executable]


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise DomtransError(f"{'pip' if uses_pip() else 'uv'} has failed, for the reason above")


def _plugins() -> list[dict[str, Any]]:
    """The installed plugins, as a new process finds them."""
    listed = subprocess.run([sys.executable, "-m", "domtrans", "plugins", "--json"], check=True, capture_output=True, text=True)
    plugins: list[dict[str, Any]] = json.loads(listed.stdout)
    return plugins
