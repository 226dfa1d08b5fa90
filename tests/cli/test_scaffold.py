"""new-plugin: a package of every kind, whose own tests pass, and names and folders that it refuses."""

import ast
import os
import subprocess
import sys
import tomllib

import pytest

from commands import in_process
from domtrans import DomtransError, load_plugins
from domtrans.cli.scaffold import USES, new_plugin
from domtrans.registry.registry import KINDS
from processes import run


def test_every_kind_of_part_has_a_template(capsys):
    assert USES.keys() == KINDS.keys()
    shown = " ".join(in_process(capsys, "new-plugin", "--help")[1].split())
    assert all(f"{kind}," in shown or f"{kind} or " in shown or f"or {kind}" in shown for kind in KINDS)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A new package of every kind."""
    folder = tmp_path_factory.mktemp("packages")
    return [new_plugin(f"new-{kind}", kind, folder) for kind in USES]


def test_the_tests_of_new_packages_pass(packages):
    paths = os.pathsep.join(map(str, packages))
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--import-mode=importlib")
    done = run("-m", "pytest", *options, ".", cwd=packages[0].parent, env={"PYTHONPATH": paths})
    assert done.returncode == 0 and f"{len(USES)} passed" in done.stdout, done.stdout


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_new_packages_are_clean(packages, command):
    pytest.importorskip("ruff", reason="ruff, which checks the code, is not installed")
    words = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
    done = subprocess.run(words, cwd=packages[0].parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failed_check_shows_no_code_of_domtrans(packages):
    """What a plugin author reads is the test, the fault and the contract."""
    package = packages[0]
    module = package / "domtrans_new_domain.py"
    code = module.read_text()
    code_with_path = code.replace("*, count", "*, path: str, count").replace(
        "        count:", "        path: A file.\n        count:"
    )
    module.write_text(code_with_path)
    try:
        done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", ".", cwd=package, env={"PYTHONPATH": package})
    finally:
        module.write_text(code)
    assert done.returncode == 1 and "pass path=... to check_domain" in done.stdout
    assert "domtrans/testing" not in done.stdout and len(done.stdout.splitlines()) < 30, done.stdout


@pytest.mark.parametrize("kind", USES)
def test_every_template_is_filled_in(tmp_path, kind):
    folder = new_plugin("my-thing", kind, tmp_path)
    assert folder == tmp_path / "domtrans-my-thing"
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(texts) == {"pyproject.toml", "README.md", "domtrans_my_thing.py", "test_my_thing.py"}
    assert not [name for name, text in texts.items() if "$" in text.replace("$DOMTRANS", "")]
    project = tomllib.loads(texts["pyproject.toml"])
    assert project["project"]["entry-points"]["domtrans"] == {"my-thing": "domtrans_my_thing"}
    assert project["project"]["name"] == "domtrans-my-thing"
    for name in ("domtrans_my_thing.py", "test_my_thing.py"):
        ast.parse(texts[name])
    assert "domtrans_interface = 1" in texts["domtrans_my_thing.py"]


def test_the_prefix_may_be_given(tmp_path):
    assert new_plugin("domtrans-squares", "domain", tmp_path).name == "domtrans-squares"


@pytest.mark.parametrize("name", ["class", "register", "tensor", "np", "path", "image", "study", "pictures", "x1"])
@pytest.mark.parametrize("kind", USES)
def test_python_keywords_and_names_in_the_templates_may_be_names(tmp_path, name, kind):
    folder = new_plugin(name, kind, tmp_path)
    tree = ast.parse((folder / f"domtrans_{name}.py").read_text())
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    imported = [
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert len(set(defined)) == len(defined) == 2 and not set(defined) & set(imported)


@pytest.mark.parametrize("name", ["", "My", "a b", "a_b", "9lives", "-a", "a-", "a--b", "../up", "none", "ä", "a.b"])
def test_a_bad_name_is_one_sentence_and_writes_nothing(tmp_path, name):
    with pytest.raises(DomtransError, match="cannot be the name of a plugin"):
        new_plugin(name, "domain", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_never_touched(tmp_path):
    kept = new_plugin("squares", "domain", tmp_path) / "README.md"
    kept.write_text("mine")
    with pytest.raises(DomtransError, match="exists already"):
        new_plugin("squares", "loss", tmp_path)
    assert kept.read_text() == "mine"


def test_other_refusals(tmp_path):
    with pytest.raises(DomtransError, match="no template for the kind 'planet'; choose one of domain, encoder"):
        new_plugin("squares", "planet", tmp_path)
    with pytest.raises(DomtransError, match="module domtrans_digits is already installed"):
        new_plugin("digits", "domain", tmp_path)
    with pytest.raises(DomtransError, match="plugin 'dtn' already has the distance 'mse'"):
        new_plugin("mse", "distance", tmp_path, registry=load_plugins(only=()).registry)
    (tmp_path / "file").write_text("")
    with pytest.raises(DomtransError, match="cannot be written"):
        new_plugin("squares", "domain", tmp_path / "file")
