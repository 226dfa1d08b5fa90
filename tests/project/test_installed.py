"""domtrans as users install it: wheels in a new environment, without the checkout.

The environment takes torch and other libraries from the one that runs the tests, through a .pth file. Only domtrans and
plugins are installed.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from domtrans.cli.scaffold import USES
from paths import ROOT

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
BUILD = ["--no-deps", "--no-build-isolation", "--no-index"]


class Environment:
    """A virtual environment, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder / "venv", folder / "work"
        venv.create(self.folder, with_pip=False)
        self.bin = self.folder / "bin"
        self.python = self.bin / "python"
        self.site = next((self.folder / "lib").glob("python*")) / "site-packages"
        # A folder on sys.path through a .pth file: the .pth files inside it, such as an editable install's, do not count.
        (self.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.work.mkdir()
        # `pip` and `pytest` of the tutorial.
        (self.bin / "pip").write_text(f'#!/bin/sh\nexec {" ".join(PIP)} --python {self.python} "$@"\n')
        (self.bin / "pytest").write_text(f'#!/bin/sh\nexec {self.python} -m pytest -q -p no:cacheprovider "$@"\n')
        for name in ("pip", "pytest"):
            (self.bin / name).chmod(0o755)

    def run(self, *command, check=True, **environment):
        """Run a command in the environment."""
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST", "DOMTRANS_PLUGINS"))
        }
        path = {"PATH": f"{self.bin}:{os.environ['PATH']}", "NO_COLOR": "1", "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}
        more = {"PIP_NO_BUILD_ISOLATION": "0", "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": str(self.folder)}
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.work,
            env=clean | path | more | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def install(self, *paths):
        self.run(*PIP, "--python", self.python, "install", "--quiet", *BUILD, *paths)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of domtrans and of the example package."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [*PIP, "wheel", "--quiet", *BUILD, "--wheel-dir", folder, ROOT, ROOT / "examples" / "domtrans-kmnist"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def environment(wheels, tmp_path_factory):
    """An environment with both wheels, and with a new plugin of every kind."""
    made = Environment(tmp_path_factory.mktemp("installed"))
    made.install(*wheels.glob("*.whl"))
    code = (
        "import sys; from domtrans.cli.scaffold import new_plugin; [new_plugin(f'new-{kind}', kind) for kind in sys.argv[1:]]"
    )
    made.run(made.python, "-c", code, *USES)
    made.install(*(made.work / f"domtrans-new-{kind}" for kind in USES))
    return made


def test_the_wheel_is_complete_and_has_no_other_files(wheels):
    (wheel,) = wheels.glob("domtrans-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "domtrans",
        *(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()),
    }
    assert "domtrans/py.typed" in names and "domtrans/__init__.pyi" in names
    for template in (ROOT / "domtrans").rglob("templates/*"):
        assert str(template.relative_to(ROOT)) in names
    assert not [name for name in names if name.startswith("domtrans/testing/test") or "__pycache__" in name]


def test_domtrans_comes_from_the_wheel(environment):
    code = "import domtrans, domtrans_dtn; print(domtrans.__file__, domtrans_dtn.__file__)"
    where = environment.run(environment.python, "-c", code).stdout
    assert all(path.startswith(str(environment.folder)) for path in where.split()), where


def test_installed_plugins_are_listed(environment):
    found = {one["name"]: one for one in json.loads(environment.run("domtrans", "plugins", "--json").stdout)}
    assert not [one for one in found.values() if one["error"]]
    kmnist = found["kmnist"]
    assert kmnist["registers"] == {"domain": ["kmnist"], "recipe": ["brushed-digits"]}
    assert (kmnist["distribution"], kmnist["version"], kmnist["interface"]) == ("domtrans_kmnist", "0.1.0", 1)
    for kind in USES:
        assert found[f"new-{kind}"]["registers"] == {kind: [f"new-{kind}"]}


def test_the_recipe_of_a_plugin_trains_and_doctor_finds_nothing_wrong(environment):
    code = (
        "import pathlib, sys; from domtrans.cli.app import main; sys.path.insert(0, sys.argv.pop(1));"
        "import test_domtrans_kmnist; test_domtrans_kmnist.write_small(pathlib.Path())\n"
        "for command in (sys.argv[1:], ['doctor', '--json']):\n"
        "    try: main(command)\n"
        "    except SystemExit as end: assert not end.code, (command, end.code)"
    )
    small = ["fit.steps=2", "train.steps=2", "train.batch_size=8", "generator.width=8", "discriminator.width=8"]
    command = ["train", "brushed-digits", "target.root=.", *small, "--out", "brushed"]
    done = environment.run(environment.python, "-c", code, ROOT / "examples" / "domtrans-kmnist", *command)
    assert "kmnist, test split, 20 images" in done.stdout
    assert list((environment.work / "brushed" / "samples").iterdir())
    assert json.loads(done.stdout[done.stdout.index("\n{") :])["healthy"]


def test_the_tests_of_new_plugins_and_of_the_example_pass(environment):
    folders = [environment.work / f"domtrans-new-{kind}" for kind in USES]
    done = environment.run(environment.bin / "pytest", "-W", "error", *folders, ROOT / "examples" / "domtrans-kmnist")
    assert f"{len(USES) + 4} passed" in done.stdout


def test_every_snippet_of_the_tutorial_runs(environment):
    page = (ROOT / "docs" / "tutorial-domain.md").read_text()
    (environment.work / "examples").mkdir(exist_ok=True)
    ran = []
    for before, language, code in re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)```", page, re.DOTALL):
        named = re.search(r"`([^`]+\.py)`:$", before)
        if language == "python" and named:
            file = environment.work / named[1]
            assert file.is_file(), "the tutorial replaces a file that new-plugin writes"
            file.write_text(code)
        elif language == "python":
            (environment.work / "snippet.py").write_text(code)
            environment.run(environment.python, "-W", "error", "snippet.py")
        elif language == "sh":
            environment.run("bash", "-euo", "pipefail", "-c", code)
        else:
            assert language == "toml" and code in (environment.work / "domtrans-rings" / "pyproject.toml").read_text()
        ran.append(language)
    assert ran.count("sh") == 7 and ran.count("python") == 3
    assert page.count("```") == 2 * len(ran), "a snippet has no language, or is not on lines of its own"
