"""domtrans as users install it: wheels in a new environment, without the checkout.

The environment takes torch and other libraries from the one that runs the tests, through a .pth file. Only domtrans and
plugins are installed.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from paths import ROOT
from processes import SETTINGS, run

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
BUILD = ["--no-deps", "--no-build-isolation", "--no-index"]
NEW_KINDS = ("domain", "generator")
"""New plugins to install; test_scaffold.py tests those of the other kinds."""


class Environment:
    """A virtual environment, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder / "venv", folder / "work"
        venv.create(self.folder, with_pip=False)
        self.bin = self.folder / "bin"
        site = next((self.folder / "lib").glob("python*")) / "site-packages"
        # A folder on sys.path through a .pth file: the .pth files inside it, such as an editable install's, do not count.
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.work.mkdir()
        (self.bin / "pip").write_text(f'#!/bin/sh\nexec {" ".join(PIP)} --python {self.bin / "python"} "$@"\n')
        (self.bin / "pip").chmod(0o755)
        kept_out = {name: None for name in os.environ if name.startswith(("PYTHON", "PYTEST", "DOMTRANS_PLUGINS"))}
        pip = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        path = {"PATH": f"{self.bin}:{os.environ['PATH']}", "VIRTUAL_ENV": str(self.folder)}
        self.variables = kept_out | SETTINGS | pip | path

    def run(self, *command):
        """Run a command; returns its standard output."""
        variables = {name: value for name, value in (os.environ | self.variables).items() if value is not None}
        return output_of(
            subprocess.run([*map(str, command)], cwd=self.work, env=variables, capture_output=True, text=True, check=False)
        )

    def python(self, *words, **variables):
        """Run ``python WORDS``; returns its standard output."""
        return output_of(run(*words, python=str(self.bin / "python"), cwd=self.work, env=self.variables | variables))


def output_of(done):
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copied_by_the_container(folder):
    """What the Containerfile copies before it builds the wheel, and nothing else."""
    for words in re.findall(r"^COPY (.*)$", (ROOT / "Containerfile").read_text(), re.MULTILINE):
        *names, place = words.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / place)
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of domtrans, built from the files of the container, and of the example package."""
    folder = tmp_path_factory.mktemp("wheels")
    source = copied_by_the_container(tmp_path_factory.mktemp("source"))
    command = [*PIP, "wheel", "--quiet", *BUILD, "--wheel-dir", folder, source, ROOT / "examples" / "domtrans-kmnist"]
    output_of(subprocess.run([*map(str, command)], capture_output=True, text=True, check=False))
    return folder


@pytest.fixture(scope="module")
def environment(wheels, tmp_path_factory):
    """An environment with both wheels, and with new plugins of two kinds."""
    made = Environment(tmp_path_factory.mktemp("installed"))
    install = ("pip", "install", "--quiet", *BUILD)
    made.run(*install, *wheels.glob("*.whl"))
    code = "import sys; from domtrans.cli.scaffold import new_plugin; [new_plugin(f'new-{k}', k) for k in sys.argv[1:]]"
    made.run("python", "-c", code, *NEW_KINDS)
    made.run(*install, *(made.work / f"domtrans-new-{kind}" for kind in NEW_KINDS))
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
    for file in (ROOT / "domtrans" / "pretrained" / "runs").rglob("*.*"):
        assert str(file.relative_to(ROOT)) in names
    assert not [name for name in names if name.startswith("domtrans/testing/test") or "__pycache__" in name]


def test_domtrans_comes_from_the_wheel(environment):
    where = environment.run("python", "-c", "import domtrans, domtrans_dtn; print(domtrans.__file__, domtrans_dtn.__file__)")
    assert all(path.startswith(str(environment.folder)) for path in where.split()), where


def test_installed_plugins_are_listed(environment):
    found = {one["name"]: one for one in json.loads(environment.run("domtrans", "plugins", "--json"))}
    assert not [one for one in found.values() if one["error"]]
    kmnist = found["kmnist"]
    assert kmnist["registers"] == {"domain": ["kmnist"], "recipe": ["brushed-digits"]}
    assert (kmnist["distribution"], kmnist["version"], kmnist["interface"]) == ("domtrans_kmnist", "0.1.0", 1)
    for kind in NEW_KINDS:
        assert found[f"new-{kind}"]["registers"] == {kind: [f"new-{kind}"]}


def test_doctor_finds_nothing_wrong(environment):
    assert json.loads(environment.python("-m", "domtrans", "doctor", "--json"))["healthy"]


def test_a_trained_model_comes_with_the_wheel(environment):
    environment.python("-c", "from PIL import Image; Image.new('RGB', (40, 30), 'red').save('photo.png')")
    said = environment.python("-m", "domtrans", "transfer", "models:digits-dtn", "photo.png", "out.png", "--device", "cpu")
    assert said == "wrote out.png\n" and (environment.work / "out.png").is_file()


def test_the_recipe_of_a_plugin_trains(environment):
    code = "import pathlib, test_domtrans_kmnist; test_domtrans_kmnist.write_small(pathlib.Path())"
    environment.python("-c", code, PYTHONPATH=ROOT / "examples" / "domtrans-kmnist")
    small = ["fit.steps=2", "train.steps=2", "train.batch_size=8", "generator.width=8", "discriminator.width=8"]
    command = ["train", "brushed-digits", "target.root=.", *small, "--out", "brushed"]
    assert "kmnist, test split, 20 images" in environment.python("-m", "domtrans", *command)
    assert list((environment.work / "brushed" / "samples").iterdir())


def test_the_tests_of_new_plugins_and_of_the_example_pass(environment):
    folders = [environment.work / f"domtrans-new-{kind}" for kind in NEW_KINDS]
    tests = ("-q", "-p", "no:cacheprovider", "-W", "error", *folders, ROOT / "examples" / "domtrans-kmnist")
    assert f"{len(NEW_KINDS) + 4} passed" in environment.python("-m", "pytest", *tests)


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
        elif language == "python" and "def test_" in code:
            (environment.work / "test_of_the_tutorial.py").write_text(code)
            environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_of_the_tutorial.py")
        elif language == "python":
            environment.python("-c", code, PYTHONWARNINGS="error")
        elif language == "sh":
            for line in code.replace("\\\n", "").splitlines():
                words = shlex.split(line)
                if words[0] in ("domtrans", "pytest") and "&&" not in words:
                    environment.python("-m", *words)
                else:
                    environment.run("bash", "-euo", "pipefail", "-c", line)
        else:
            assert language == "toml" and code in (environment.work / "domtrans-rings" / "pyproject.toml").read_text()
        ran.append(language)
    assert ran.count("sh") == 7 and ran.count("python") == 4
    assert page.count("```") == 2 * len(ran), "a snippet has no language, or is not on lines of its own"


def test_a_plugin_is_installed_and_removed_by_domtrans_itself(environment):
    environment.python("-m", "domtrans", "new-plugin", "late-distance", "--kind", "distance")
    installed = environment.python("-m", "domtrans", "install", "--editable", "domtrans-late-distance")
    assert "plugin late-distance of domtrans_late_distance 0.1.0 registers distance late-distance" in installed
    assert "late-distance" in environment.python("-m", "domtrans", "show", "distance")
    environment.python("-m", "domtrans", "uninstall", "domtrans-late-distance")
    assert "late-distance" not in environment.python("-m", "domtrans", "show", "distance")
