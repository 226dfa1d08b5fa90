"""Imports run one way, package by package. ``docs/design.md`` draws the packages."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import domtrans
from paths import ROOT

ENGINE, PLUGINS = ROOT / "domtrans", ROOT / "plugins"

PACKAGES = [
    "errors",
    "optional",
    "schedules",
    "storage",
    "pretrained",
    "compute",
    "registry",
    "data",
    "interfaces",
    "recipe",
    "inspection",
    "model",
    "session",
    "progress",
    "evaluation",
    "runs",
    "nn",
    "reporting",
    "training",
    "inference",
    "sharing",
    "studies",
    "benchmark",
    "demo",
    "domtrans",  # the public names: what follows may use them as any program does
    "testing",
    "cli",
    "__main__",
]
"""Packages and top-level modules, lowest first. Each imports from those before it only, and from itself."""

LEVEL = {package: level for level, package in enumerate(PACKAGES)}


def imports(path: Path) -> list[tuple[str, str]]:
    """Every import of a file, inside functions too: (module, name), the name empty for ``import module``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def package_of(path: Path) -> str:
    """The name in PACKAGES of a file of the engine."""
    parts = path.relative_to(ENGINE).with_suffix("").parts
    return "domtrans" if parts == ("__init__",) else parts[0]


def imported(path: Path) -> set[str]:
    """The names in PACKAGES that a file imports; the version alone is not an import of the public names."""
    found = set()
    for module, name in imports(path):
        if module == "domtrans" and name != "__version__":
            found.add(name if name in LEVEL else "domtrans")
        elif module.startswith("domtrans."):
            found.add(module.split(".")[1])
    return found


def modules_imported(path: Path, root: Path, prefix: str) -> set[Path]:
    """The files below ``root``, the folder of the package ``prefix``, that a file imports."""
    found = set()
    for module, name in imports(path):
        if module == prefix or module.startswith(f"{prefix}."):
            folder = root.joinpath(*module.split(".")[1:])
            found |= {file for file in (folder / f"{name}.py", folder.with_suffix(".py")) if file.is_file()}
    return found - {path}


def circles(root: Path) -> list[Path]:
    """Files below a package's folder that import one another; empty where imports run one way."""
    waiting = {path: modules_imported(path, root, root.name) for path in root.rglob("*.py")}
    while free := [path for path, needs in waiting.items() if not needs & waiting.keys()]:
        for path in free:
            del waiting[path]
    return sorted(waiting)


def public() -> set[str]:
    """The names in ``__init__.pyi``."""
    return {name for _, name in imports_of_stub()} | {"__version__"}


def imports_of_stub() -> list[tuple[str, str]]:
    tree = ast.parse((ENGINE / "__init__.pyi").read_text())
    return [(n.module or "", a.asname or a.name) for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]


MODULES = sorted(ENGINE.rglob("*.py"))
PLUGIN_FILES = sorted(PLUGINS.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_no_module_imports_from_a_higher_package(path):
    package = package_of(path)
    assert package in LEVEL, f"give the new package '{package}' its place in PACKAGES"
    assert not {other for other in imported(path) - {package} if LEVEL[other] >= LEVEL[package]}


def test_every_package_is_there_and_says_what_belongs_in_it():
    assert {package_of(path) for path in MODULES} == set(PACKAGES)
    for folder in (path for path in ENGINE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        tree = ast.parse((folder / "__init__.py").read_text())
        assert ast.get_docstring(tree), folder
        assert folder.name == "testing" or len(tree.body) == 1, f"{folder}: importing a package must not load its modules"


@pytest.mark.parametrize("root", [ENGINE, *(path for path in PLUGINS.iterdir() if path.is_dir())], ids=lambda path: path.name)
def test_there_are_no_import_circles(root):
    assert circles(root) == []


def test_an_import_circle_would_be_found(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("def f():\n    from package import b\n")
    (package / "b.py").write_text("from package.c import g\n")
    (package / "c.py").write_text("from package.a import f\n")
    (package / "d.py").write_text("from package.a import f\n")
    assert [path.name for path in circles(package)] == ["a.py", "b.py", "c.py", "d.py"]
    (package / "a.py").write_text("")
    assert circles(package) == []


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_plugin_imports_public_names_and_libraries_only(path):
    package = path.relative_to(PLUGINS).parts[0]
    others = {folder.name for folder in PLUGINS.iterdir() if folder.is_dir()} - {package}
    for module, name in imports(path):
        top = module.partition(".")[0]
        assert top not in others, f"{path} imports another plugin, {module}"
        if top == "domtrans":
            assert module == "domtrans", f"{path} imports {module}; a plugin imports from domtrans itself"
            assert not name or name in public(), f"{path} imports {name}, which is not public"
    tree = ast.parse(path.read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "domtrans"
    }
    assert used <= public()


def test_plugins_is_no_package():
    assert not (PLUGINS / "__init__.py").exists()


def test_only_callers_load_plugins():
    """The trainer and all beneath it are handed a registry."""
    for path in MODULES:
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(ast.parse(path.read_text()))}
        if "load_plugins" in names:
            assert LEVEL[package_of(path)] >= LEVEL["runs"], path
    for path in PLUGIN_FILES:
        assert "load_plugins" not in path.read_text()


def test_entry_points_are_read_in_one_place():
    everywhere = {path: imports(path) for path in (*MODULES, *PLUGIN_FILES)}
    assert [path.name for path, found in everywhere.items() if ("entrypoints", "") in found] == ["plugins.py"]
    assert not [path for path, found in everywhere.items() if any(name == "entry_points" for _, name in found)]
    assert not [path for path in everywhere if ".entry_points(" in path.read_text()]


def test_only_the_command_line_and_progress_write_to_the_terminal():
    writes = re.compile(r"\bprint\(|sys\.std(out|err)\.write|\b(import|from) (rich|tqdm)\b")
    for path in (*MODULES, *PLUGIN_FILES):
        assert not writes.search(path.read_text()) or path.relative_to(path.parents[1]).parts[0] in ("cli", "progress"), path


def test_hooks_are_for_registration_alone():
    assert [path.name for path in MODULES if any(module == "pluggy" for module, _ in imports(path))] == ["plugins.py"]


@pytest.mark.parametrize(
    "module", ["domtrans", "domtrans.cli.commands", "domtrans_dtn", "domtrans_digits", "domtrans_faces", "domtrans_files"]
)
def test_a_bare_import_does_not_wait_for_torch(module):
    code = f"import {module}, sys; assert not {{'torch', 'numpy', 'PIL', 'torchvision', 'matplotlib'}} & set(sys.modules)"
    if module.startswith("domtrans_"):  # hookimpl brings pydantic and pluggy along, not torch
        code = code.replace("'numpy', ", "")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there_and_says_what_it_is():
    for name in sorted(public() - {"__version__"}):
        thing = getattr(domtrans, name)
        assert name in dir(domtrans) and name in domtrans.__all__
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name
