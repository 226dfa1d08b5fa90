"""What is imported is declared, what is declared is imported, and what is installed is what was asked for."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {canonicalize_name(Requirement(text).name): Requirement(text) for text in PROJECT["dependencies"]}
NAMED_OTHERWISE = {"PIL": "pillow"}
OURS = {"domtrans", *(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())}

NOT_IMPORTED = {
    "scipy": "torchvision reads SVHN's .mat files with it, and does not ask for it itself",
}
"""Dependencies that no line of ours imports, each with its reason."""


def imported() -> set[str]:
    """The distributions that the engine and the shipped plugins import, inside functions too."""
    tops = set()
    for path in [*(ROOT / "domtrans").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                tops |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                tops.add(node.module.partition(".")[0])
    tops -= sys.stdlib_module_names | OURS
    return {canonicalize_name(NAMED_OTHERWISE.get(top, top)) for top in tops}


def test_every_import_is_declared():
    # domtrans.testing asks for pytest where its user runs pytest anyway.
    assert imported() - {"pytest"} <= DECLARED.keys()


def test_every_dependency_is_imported_or_has_its_reason():
    assert DECLARED.keys() - imported() == NOT_IMPORTED.keys()


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_every_dependency_has_a_lower_bound_that_what_is_installed_meets(name):
    wanted = DECLARED[name]
    assert any(bound.operator == ">=" for bound in wanted.specifier), f"{name} has no lower bound"
    assert not any(bound.operator in ("<", "<=", "==", "~=") for bound in wanted.specifier), "a library sets no upper bounds"
    assert wanted.specifier.contains(metadata.version(name), prereleases=True)
    assert wanted.url is None and wanted.marker is None


def test_nothing_unpickles_or_runs_what_it_reads():
    """No call in our code that could run what a file holds; ``torch.load`` has ``weights_only=True`` wherever it stands."""
    paths = {*(ROOT / "domtrans").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")}
    paths -= {ROOT / "domtrans/testing/contracts.py"}  # sends a plugin author's own objects through pickle and back
    for path in paths:
        tree = ast.parse(path.read_text())
        names = {
            alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert called not in ("eval", "exec", "os.system", "yaml.load", "torch.hub.load"), f"{path}: {called}"
                assert called != "torch.load" or options.get("weights_only") == "True", path
                assert called != "np.load" or options.get("allow_pickle") == "False", path
                assert options.get("shell") != "True", path


def test_the_promises_name_what_keeps_them():
    """SECURITY.md points at tests; they are there."""
    text = (ROOT / "SECURITY.md").read_text()
    for name in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / name).is_file(), name
