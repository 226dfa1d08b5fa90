"""``install`` and ``uninstall``: pip or uv is run for the environment of domtrans. test_installed.py does it for real."""

import importlib.util
import shutil
import subprocess
import sys

import pytest

import installed_plugins
from commands import in_process
from domtrans.cli import install

UV = "/usr/bin/uv"


@pytest.fixture
def ran(monkeypatch):
    """The commands that would have been run; each succeeds."""
    commands = []
    plugins = iter(
        [
            [{"name": "old", "registers": {}}],
            [
                {"name": "old", "registers": {}},
                {"name": "good", "distribution": "d", "version": "1", "error": None, "registers": {"loss": ["a", "b"]}},
                {"name": "bad", "distribution": "d", "version": "1", "error": "no torch", "registers": {}},
            ],
        ]
    )
    monkeypatch.setattr(install, "_plugins", lambda: next(plugins))
    monkeypatch.setattr(
        subprocess, "run", lambda command, check: commands.append(command) or subprocess.CompletedProcess(command, 0)
    )
    return commands


def test_pip_installs_and_new_plugins_are_named(ran, capsys):
    code, output, _ = in_process(capsys, "install", "some-plugin", "-e", "./mine", "--upgrade")
    assert code == 0 and ran == [[sys.executable, "-m", "pip", "install", "--upgrade", "some-plugin", "--editable", "mine"]]
    assert output.splitlines() == ["plugin good of d 1 registers loss a, b", "plugin bad of d 1 cannot be loaded: no torch"]


def test_a_package_without_a_plugin_is_noticed(ran, monkeypatch, capsys):
    monkeypatch.setattr(install, "_plugins", list)
    code, output, _ = in_process(capsys, "install", "no-plugin")
    assert code == 0 and output == "no new plugin was installed; `domtrans plugins` lists the installed ones\n"


def test_uv_installs_where_there_is_no_pip(ran, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: UV)
    assert in_process(capsys, "install", "some-plugin")[0] == 0
    assert ran == [[UV, "pip", "install", "--python", sys.executable, "some-plugin"]]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(install, "_plugins", list)
    code, _, errors = in_process(capsys, "install", "some-plugin")
    assert code == 2 and "neither pip nor uv can be found" in errors


def test_only_packages_with_plugins_are_removed(ran, tmp_path, monkeypatch, capsys):
    installed_plugins.install(tmp_path, "late")
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("torch", "domtrans"):
        code, _, errors = in_process(capsys, "uninstall", package)
        assert (
            code == 2 and f"{package} is not an installed package with a plugin; the installed ones are domtrans-late" in errors
        )
    assert ran == []
    assert in_process(capsys, "uninstall", "domtrans_late")[0] == 0
    assert ran == [[sys.executable, "-m", "pip", "uninstall", "--yes", "domtrans_late"]]


def test_a_failure_is_one_sentence(ran, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 1))
    code, _, errors = in_process(capsys, "install", "no-such-plugin")
    assert code == 2 and "pip has failed, for the reason above" in errors
    code, _, errors = in_process(capsys, "install")
    assert code == 2 and "there is nothing to install" in errors
