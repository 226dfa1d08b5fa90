"""``domtrans check-plugin``: one report on an installed plugin, or on a package that is built and installed for it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domtrans.cli.exit_codes import SOME_FAILED
from domtrans.cli.install import uses_pip, uv
from domtrans.cli.shared import Json, explain
from domtrans.errors import DomtransError, one_line

if TYPE_CHECKING:
    from domtrans.testing.plugins import PluginFinding

WITHOUT = ignore_patterns(".git", ".venv", "venv", "build", "dist", "__pycache__", "*.egg-info")
"""What is not copied of the folder of a package. It is built from a copy, because some tools write into the folder."""

CHECK = """
import importlib, sys, time
from contextlib import redirect_stdout
from importlib import metadata
import torch, domtrans
from domtrans.cli.app import main
domtrans.Loss, domtrans.load_plugins
before = time.perf_counter()
try:
    with redirect_stdout(sys.stderr):
        for point in metadata.distribution(sys.argv[1]).entry_points:
            if point.group == "domtrans":
                importlib.import_module(point.module)
    print(time.perf_counter() - before)
except BaseException:
    print("nan")
main(["check-plugin", *sys.argv[1:], "--json"])
"""
"""Prints the seconds that the import takes after domtrans and torch, nan if it fails, and then the findings as JSON."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        name="check-plugin",
        help=explain(
            "Check a plugin, and the contracts of its parts. The report says whether it loads and states interface and "
            "licence, how long its import takes, and whether every part explains its options. A folder or a wheel is built, "
            "and installed into a new environment with this domtrans. The exit code is 1 if something is wrong.",
            "domtrans check-plugin domtrans-rings",
            "domtrans check-plugin ./domtrans-rings rings.count=8",
            "domtrans check-plugin dist/domtrans_rings-0.1.0-py3-none-any.whl --json",
        ),
    )(check_plugin)


def check_plugin(
    plugin: Annotated[
        str,
        typer.Argument(metavar="PLUGIN", help="The name of an installed plugin or of its package; or ./FOLDER or a .whl file."),
    ],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="PART.OPTION=VALUE", help="Options of its parts, e.g. small sizes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the command."""
    from domtrans.cli import terminal

    with redirect_stdout(sys.stderr):
        findings = _check_package(Path(plugin), options or []) if _is_path(plugin) else _check_installed(plugin, options or [])
    if as_json:
        terminal.print_json([asdict(finding) for finding in findings])
    else:
        rows = [[finding.subject, finding.check, _outcome(finding)] for finding in findings]
        terminal.show_table(["", "check", "outcome"], rows)
    if any(finding.fault for finding in findings):
        raise typer.Exit(SOME_FAILED)


def _is_path(name: str) -> bool:
    """Whether a name is a path, as pip understands it: with a slash, a dot at its beginning, or the ending of a wheel."""
    return name.startswith(".") or "/" in name or os.sep in name or name.endswith(".whl")


def _outcome(finding: PluginFinding) -> str:
    passed = f"ok: {finding.detail}" if finding.detail else "ok"
    return finding.fault or (f"not checked: {finding.skipped}" if finding.skipped else passed)


def _check_installed(name: str, options: Sequence[str]) -> list[PluginFinding]:
    from domtrans.recipe.overrides import parse
    from domtrans.testing import plugins

    given: dict[str, dict[str, Any]] = {}
    for path, value in parse(list(options)):
        part, _, option = path.partition(".")
        given.setdefault(part, {})[option] = value
    return plugins.check_plugin(name, given)


def _check_package(path: Path, options: Sequence[str]) -> list[PluginFinding]:
    """Build a package, install it into a new environment with this domtrans, and check it there."""
    from domtrans.testing.plugins import PluginFinding

    if not path.exists():
        raise DomtransError(f"there is no folder or file {path}; name an installed plugin without a slash")
    path = path.absolute()  # the commands run in another folder
    with tempfile.TemporaryDirectory(prefix="domtrans-") as temporary:
        folder = Path(temporary)
        wheel = path if path.suffix == ".whl" else _build(path, folder)
        name = wheel.name.partition("-")[0]
        python = _new_environment(folder / "environment", wheel)
        said = _run([str(python), "-c", CHECK, name, *options], folder, accept=SOME_FAILED)
        seconds, _, found = said.partition("\n")
        built = PluginFinding("package", "builds", detail=f"{wheel.name}, {wheel.stat().st_size:,} bytes")
        imported = PluginFinding("package", "import time", detail=f"{float(seconds):.2f} s after domtrans and torch")
        checked = [PluginFinding(**finding) for finding in json.loads(found)]
        loads = not any(finding.fault for finding in checked if finding.check == "loads")
        return [built, *([imported] if loads else []), *checked]


def _build(source: Path, folder: Path) -> Path:
    """The wheel of a package. What builds it is downloaded, unless it is installed here."""
    project = source / "pyproject.toml"
    try:
        system = tomllib.loads(project.read_text(encoding="utf-8")).get("build-system", {})
    except (OSError, ValueError) as error:
        raise DomtransError(f"{source} is not the folder of a package: {project} cannot be read ({error})") from None
    backend = str(system.get("build-backend", "setuptools")).partition(".")[0]
    isolation = ["--no-build-isolation"] if importlib.util.find_spec(backend) is not None else []
    copy, wheels = copytree(source, folder / "source", ignore=WITHOUT), folder / "wheels"
    if uses_pip():
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", *isolation, "--wheel-dir", str(wheels), str(copy)]
    else:
        command = [uv(), "build", "--wheel", *isolation, "--python", sys.executable, "--out-dir", str(wheels), str(copy)]
    _run(command, folder)
    return next(wheels.glob("*.whl"))


def _new_environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment with the wheel, and all else as it is here; returns its Python."""
    venv.create(folder, symlinks=os.name != "nt")
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    site, here = Path(paths["purelib"]), {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site.mkdir(parents=True, exist_ok=True)
    # Through addsitedir, the .pth files there count too: domtrans itself may be installed with --editable.
    lines = [f"import site; site.addsitedir({str(path)!r})\n" for path in sorted(here)]
    (site / "shared.pth").write_text("".join(lines), encoding="utf-8")
    install = [sys.executable, "-m", "pip", "install"] if uses_pip() else [uv(), "pip", "install", "--python", sys.executable]
    _run([*install, "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)], folder)
    return Path(paths["scripts"]) / ("python.exe" if os.name == "nt" else "python")


def _run(command: Sequence[str], folder: Path, accept: int = 0) -> str:
    """Standard output of a command in a folder, without the settings that would let it import from elsewhere."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode not in (0, accept):
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise DomtransError(one_line(f"the package cannot be checked: {said[-1].removeprefix('error: ').strip()}"))
    return done.stdout
