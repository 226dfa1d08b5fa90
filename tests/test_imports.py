"""Imports run one way. These are the house's lines; docs/design.md draws them."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import domtrans

ROOT = Path(__file__).parents[1]
ENGINE, PLUGINS = ROOT / "domtrans", ROOT / "plugins"

LAYERS: list[set[str]] = [
    {"errors", "folders", "launch", "batches", "seeding", "figures", "plots", "tablepage", "processes"},
    {"convolution", "feature_alignment"},
    {"parts", "tensors", "device", "memory", "pictures", "compatibility", "extras", "realism", "strategies", "compiled"},
    {"decoding", "drawing", "facefinding", "layout", "moving"},
    {"stored", "jobs", "benchtables"},
    {"images"},
    {"registry", "interfaces", "cache", "grid", "weights", "distributed", "leaks", "feed", "newfolder", "hub", "onnxfile"},
    {"recipe", "model", "session", "describe", "drawn", "plugins", "sheets", "study"},
    {"overrides", "optim", "health", "side", "terms", "shards", "evaluators", "pipeline"},
    {"changes", "trackers"},
    {"recipefiles", "runfolder", "trainer", "validation", "tables"},
    {"rehearsal", "plainloop", "stopwatch"},
    {"loop", "provenance", "studyfolder", "roofline"},
    {"experiment"},
    {"evaluation", "modelfile", "examples"},
    {"runs", "reporting"},
    {"inference", "training", "verification", "exporting", "generation", "modelcard", "demo"},
    {"reproduction", "packing", "benchmarking"},
    {"growth"},
    {"domtrans"},  # the public names; what stands above may use them as any caller does
    {"testing"},
    {"progress", "reference", "scaffold", "doctor", "completion"},
    {"terminal"},
    {"cli_shared"},
    {"cli_bench", "cli_demo", "cli_look", "cli_make", "cli_report", "cli_reproduce", "cli_share", "cli_transfer"},
    {"cli"},
    {"__main__"},
]
"""From the ground up. A module imports from lower layers only, never from its own."""

LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}


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


def module_of(path: Path) -> str:
    """The name in LAYERS of a file of the engine; all of a subpackage counts as one."""
    parts = path.relative_to(ENGINE).with_suffix("").parts
    return "domtrans" if parts == ("__init__",) else parts[0]


def imported(path: Path) -> set[str]:
    """The names in LAYERS that a file imports."""
    found = set()
    for module, name in imports(path):
        if module == "domtrans" and name:
            found.add(name if (ENGINE / f"{name}.py").is_file() and name not in public() else "domtrans")
        elif module == "domtrans":
            found.add("domtrans")
        elif module.startswith("domtrans."):
            found.add(module.split(".")[1])
    return found


def public() -> set[str]:
    """The names in ``__init__.pyi``."""
    return {name for _, name in imports_of_stub()} | {"__version__"}


def imports_of_stub() -> list[tuple[str, str]]:
    tree = ast.parse((ENGINE / "__init__.pyi").read_text())
    return [(n.module or "", a.asname or a.name) for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]


MODULES = sorted(ENGINE.rglob("*.py"))
PLUGIN_FILES = sorted(PLUGINS.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_no_module_imports_from_its_own_layer_or_above(path):
    module = module_of(path)
    assert module in LEVEL, f"give the new module '{module}' its place in LAYERS"
    upward = {other for other in imported(path) - {module} if LEVEL[other] >= LEVEL[module]}
    assert not upward - ({"domtrans"} if only_version(path) else set())


def only_version(path: Path) -> bool:
    """Whether all that a file takes from the package itself is its version."""
    return all(name == "__version__" for module, name in imports(path) if module == "domtrans")


def test_every_layer_is_there():
    assert {module_of(path) for path in MODULES} == set(LEVEL)


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
            assert LEVEL[module_of(path)] >= LEVEL["runs"], path
    for path in PLUGIN_FILES:
        assert "load_plugins" not in path.read_text()


def test_entry_points_are_read_in_one_place():
    everywhere = {path: imports(path) for path in (*MODULES, *PLUGIN_FILES)}
    assert [path.name for path, found in everywhere.items() if ("entrypoints", "") in found] == ["plugins.py"]
    assert not [path for path, found in everywhere.items() if any(name == "entry_points" for _, name in found)]
    assert not [path for path in everywhere if ".entry_points(" in path.read_text()]


def test_hooks_are_for_registration_alone():
    assert [path.name for path in MODULES if any(module == "pluggy" for module, _ in imports(path))] == ["plugins.py"]


@pytest.mark.parametrize(
    "module", ["domtrans", "domtrans.cli", "domtrans_dtn", "domtrans_digits", "domtrans_faces", "domtrans_files"]
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
