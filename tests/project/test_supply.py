"""What is asked for has a lower bound that holds and a licence that is recorded; nothing that is read is run."""

import ast
import re
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared(*extras: str) -> dict[str, list[Requirement]]:
    """What the project and those extras of it ask for, by name."""
    found: dict[str, list[Requirement]] = {}
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]:
        found.setdefault(canonicalize_name(Requirement(text).name), []).append(Requirement(text))
    return found


EXTRAS = PROJECT["optional-dependencies"]


def stated(name: str) -> str:
    """What an installed distribution says of its licence; empty if it says nothing, or is an extra that is not installed."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        assert name not in declared(), f"{name} is not installed"
        return ""
    licences = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    return " ".join([about.get("License-Expression", ""), about.get("License", ""), *licences]).strip()


@pytest.mark.parametrize("name", sorted(declared(*EXTRAS)))
def test_every_dependency_has_a_lower_bound_and_what_is_installed_meets_it(name):
    for wanted in declared(*EXTRAS)[name]:
        assert any(bound.operator == ">=" for bound in wanted.specifier), f"{name} has no lower bound"
        assert all(bound.operator in (">=", "!=") for bound in wanted.specifier), "a library sets no upper bounds"
        assert wanted.url is None and wanted.marker is None
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            assert name not in declared(), f"{name} is not installed"
        else:
            assert wanted.specifier.contains(installed, prereleases=True)
    assert len({str(wanted.specifier) for wanted in declared(*EXTRAS)[name]}) == 1, f"{name} has two bounds"


def test_every_licence_is_recorded_as_its_distribution_states_it():
    text = (ROOT / "docs" / "licences.md").read_text()
    recorded = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|$", text, re.MULTILINE))
    assert recorded.keys() == declared(*(extra for extra in EXTRAS if extra != "dev")).keys()
    for name, licence in recorded.items():
        family = {"PSF": "Python Software Foundation"}.get(re.split(r"\W", licence)[0], re.split(r"\W", licence)[0])
        assert not stated(name) or family in stated(name), f"{name} says {stated(name)[:100]}"


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
