"""What authors of plugins find: the list of plugins is that of its data and of the code; the example of CI is valid."""

import re
import shlex
import tomllib

import pytest
from typer.main import get_command

import plugins_page
from domtrans.cli.commands import app
from domtrans.registry.registry import KINDS
from paths import DOCS, EXAMPLES, ROOT
from tiny import registry

LISTED = tomllib.loads((DOCS / "plugins.toml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_page_is_that_of_the_data_and_the_code():
    assert (DOCS / "plugins.md").read_text() == plugins_page.page(registry()), "run `python docs/plugins_page.py`"
    assert LISTED["shipped"].keys() == PROJECT["entry-points"]["domtrans"].keys()


@pytest.mark.parametrize("plugin", LISTED["plugin"], ids=lambda plugin: plugin["name"])
def test_an_entry_is_complete(plugin):
    assert plugin.keys() == {"name", "package", "home", "install", "licence", "description", "adds"}
    assert plugin["adds"].keys() <= KINDS.keys() and all(plugin["adds"].values())
    assert plugin["home"].startswith("https://") or (DOCS / plugin["home"]).is_file()
    assert [one["name"] for one in LISTED["plugin"]].count(plugin["name"]) == 1
    assert plugin["name"] not in LISTED["shipped"]


def test_the_example_adds_what_the_list_says():
    code = (EXAMPLES / "domtrans-kmnist" / "domtrans_kmnist.py").read_text()
    registered = re.findall(r'registry\.(\w+)\(\s*(?:Recipe\(\s*name=)?"([\w-]+)"', code)
    (kmnist,) = [plugin for plugin in LISTED["plugin"] if plugin["name"] == "kmnist"]
    assert {(kind, name) for kind, names in kmnist["adds"].items() for name in names} == {*registered}


def test_the_example_of_ci_has_valid_commands():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    workflow = yaml.safe_load((EXAMPLES / "plugin-ci" / "test-with-domtrans.yml").read_text())
    lines = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    ours = [shlex.split(line)[1:] for line in lines if line.startswith("domtrans ")]
    assert ours
    for command, *words in ours:
        assert get_command(app).commands[command].make_context(command, words)
    readme = (EXAMPLES / "plugin-ci" / "README.md").read_text()
    assert all(line in readme for line in lines if line.startswith(("domtrans ", "python -W")))
