"""new-plugin: names, folders, and valid files. test_installed.py installs and tests every kind."""

import ast
import tomllib

import pytest

from domtrans import DomtransError, load_plugins
from domtrans.cli.scaffold import USES, new_plugin


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


@pytest.mark.parametrize("name", ["class", "register", "tensor", "np", "x1"])
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
    with pytest.raises(DomtransError, match="plugin 'dtn' already has a distance 'mse'"):
        new_plugin("mse", "distance", tmp_path, registry=load_plugins(only=()).registry)
    (tmp_path / "file").write_text("")
    with pytest.raises(DomtransError, match="cannot be written"):
        new_plugin("squares", "domain", tmp_path / "file")
