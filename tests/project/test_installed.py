"""domtrans as a stranger gets it: wheels in a fresh environment, never the checkout.

The environment borrows torch and all else from the one that runs the tests (a .pth file), so that nothing heavy is
installed; domtrans itself, and every plugin, is there as a wheel or not at all.
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


class Stranger:
    """An environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder / "venv", folder / "work"
        venv.create(self.folder, with_pip=False)
        self.bin = self.folder / "bin"
        self.python = self.bin / "python"
        self.site = next((self.folder / "lib").glob("python*")) / "site-packages"
        # A folder on sys.path through a .pth file: the .pth files inside it, such as an editable install's, do not count.
        (self.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.work.mkdir()
        # `pip` in the tutorial installs here, offline, with what is there.
        (self.bin / "pip").write_text(f'#!/bin/sh\nexec {" ".join(PIP)} --python {self.python} "$@"\n')
        (self.bin / "pytest").write_text(f'#!/bin/sh\nexec {self.python} -m pytest -q -p no:cacheprovider "$@"\n')
        for name in ("pip", "pytest"):
            (self.bin / name).chmod(0o755)

    def run(self, *command, check=True, **environment):
        """A process in the environment."""
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
    for project in (ROOT, ROOT / "examples" / "domtrans-kmnist"):
        command = [*PIP, "wheel", "--quiet", *BUILD, "--wheel-dir", str(folder), str(project)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def stranger(wheels, tmp_path_factory):
    """An environment with both wheels."""
    made = Stranger(tmp_path_factory.mktemp("stranger"))
    made.install(*wheels.glob("*.whl"))
    return made


def test_the_wheel_holds_all_that_it_needs_and_nothing_else(wheels):
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


def test_domtrans_comes_from_the_wheel(stranger):
    where = stranger.run(
        stranger.python, "-c", "import domtrans, domtrans_dtn; print(domtrans.__file__, domtrans_dtn.__file__)"
    )
    assert all(path.startswith(str(stranger.folder)) for path in where.stdout.split()), where.stdout


def test_plugins_lists_the_stranger_s(stranger):
    found = {one["name"]: one for one in json.loads(stranger.run("domtrans", "plugins", "--json").stdout)}
    assert found["kmnist"]["registers"] == {"domain": ["kmnist"], "recipe": ["brushed-digits"]}
    assert (found["kmnist"]["distribution"], found["kmnist"]["version"], found["kmnist"]["interface"]) == (
        "domtrans_kmnist",
        "0.1.0",
        1,
    )


def test_doctor_is_content(stranger):
    done = stranger.run("domtrans", "doctor", "--json")
    assert json.loads(done.stdout)["healthy"]


def test_the_stranger_s_recipe_trains_two_steps(stranger):
    write = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import test_domtrans_kmnist as t; t.write_small(pathlib.Path())"
    )
    stranger.run(stranger.python, "-c", write, ROOT / "examples" / "domtrans-kmnist")
    small = ["fit.steps=2", "train.steps=2", "train.batch_size=8", "generator.width=8", "discriminator.width=8"]
    done = stranger.run("domtrans", "train", "brushed-digits", "target.root=.", *small, "--out", "brushed")
    assert "kmnist, test split, 20 images" in done.stdout
    assert list((stranger.work / "brushed" / "samples").iterdir())


def test_the_example_s_own_tests_pass_and_at_once_those_of_a_new_plugin_of_every_kind(stranger):
    for kind in USES:
        done = stranger.run(
            stranger.python, "-c", f"from domtrans.cli.scaffold import new_plugin; print(new_plugin('fresh-{kind}', '{kind}'))"
        )
        assert done.stdout.strip() == f"domtrans-fresh-{kind}"
    folders = [stranger.work / f"domtrans-fresh-{kind}" for kind in USES]
    stranger.install(*folders)
    done = stranger.run(stranger.bin / "pytest", "-W", "error", *folders, ROOT / "examples" / "domtrans-kmnist")
    assert f"{len(USES) + 4} passed" in done.stdout
    found = json.loads(stranger.run("domtrans", "plugins", "--json").stdout)
    registered = {one["name"]: one["registers"] for one in found if one["name"].startswith("fresh-")}
    assert registered == {f"fresh-{kind}": {kind: [f"fresh-{kind}"]} for kind in USES}
    assert not [one for one in found if one["error"]]


def test_every_snippet_of_the_tutorial_runs(stranger):
    page = (ROOT / "docs" / "tutorial-domain.md").read_text()
    (stranger.work / "examples").mkdir(exist_ok=True)
    file = None
    ran = []
    for before, language, code in re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)```", page, re.DOTALL):
        named = re.search(r"`([^`]+\.py)`:$", before)
        if language == "python" and named:
            file = stranger.work / named[1]
            assert file.is_file(), "the tutorial replaces a file that new-plugin writes"
            file.write_text(code)
        elif language == "python":
            (stranger.work / "snippet.py").write_text(code)
            stranger.run(stranger.python, "-W", "error", "snippet.py")
        elif language == "sh":
            stranger.run("bash", "-euo", "pipefail", "-c", code)
        else:
            assert language == "toml" and code in (stranger.work / "domtrans-rings" / "pyproject.toml").read_text()
        ran.append(language)
    assert ran.count("sh") == 7 and ran.count("python") == 3
    assert page.count("```") == 2 * len(ran), "a snippet has no language, or does not stand apart"
