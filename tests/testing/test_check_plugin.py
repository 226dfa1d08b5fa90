"""``check_plugin``: one report on an installed plugin."""

import json
import subprocess
import zipfile

import pytest

import installed_plugins
from commands import in_process
from domtrans import DomtransError
from domtrans.testing.plugins import PluginFinding, check_plugin

BAD = """
    import domtrans

    @domtrans.hookimpl
    def register(registry):
        registry.distance("flat", flat)
        registry.domain("lost", lost)

    def flat(a, b, *, slope: float = 1.0):
        '''A distance with an option that is not explained.'''
        return slope * (a - b).abs().mean()

    def lost(split, size, *, path: str):
        '''Images of a file.

        Args:
            path: The file.
        '''
"""
STATED = "Metadata-Version: 2.1\nName: domtrans-good\nVersion: 1.0\nLicense: MIT\n"


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (installed_plugins.install(tmp_path, "good") / "METADATA").write_text(STATED)
    installed_plugins.install(tmp_path, "bad", BAD)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_good_plugin(plugins):
    assert check_plugin("good") == [
        PluginFinding("package", "loads"),
        PluginFinding("package", "interface"),
        PluginFinding("package", "licence", detail="MIT"),
        PluginFinding("distance by-good", "options", detail="0 explained"),
        PluginFinding("distance by-good", "contracts"),
    ]


def test_a_bad_plugin(plugins):
    found = {(finding.subject, finding.check): finding for finding in check_plugin("domtrans_bad")}
    assert "does not state the interface version" in found["package", "interface"].fault
    assert "states no licence" in found["package", "licence"].fault
    assert "its docstring does not explain the option 'slope'. The contract: " in found["distance flat", "contracts"].fault
    assert found["distance flat", "options"].fault == "its docstring does not explain slope"
    assert found["domain lost", "options"] == PluginFinding("domain lost", "options", detail="1 explained")
    assert found["domain lost", "contracts"].skipped == "it needs options: give lost.path=VALUE"
    assert check_plugin("Domtrans__Bad") == check_plugin("bad")
    with pytest.raises(DomtransError, match="no plugin 'other' is installed"):
        check_plugin("other")


def test_the_command(plugins, capsys):
    code, output, _ = in_process(capsys, "check-plugin", "good")
    assert code == 0 and output.splitlines()[-1].split() == ["distance", "by-good", "contracts", "ok"]
    code, output, _ = in_process(capsys, "check-plugin", "domtrans-bad", "lost.path=x", "--json")
    _, lost = [finding for finding in json.loads(output) if finding["subject"] == "domain lost"]
    assert code == 1 and lost["fault"] and not lost["skipped"]


def wheel_of(folder):
    """The wheel of a plugin that prints while it is imported."""
    about = installed_plugins.install(folder, "brand-new")
    module = folder / "neighbour_brand_new.py"
    module.write_text('print("hello")\n' + module.read_text())
    (about / "METADATA").write_text(STATED.replace("domtrans-good", "domtrans-brand-new"))
    (about / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    files = [module, *about.iterdir(), about / "RECORD"]
    names = [str(file.relative_to(folder)) for file in files]
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    wheel = folder / "dist" / "domtrans_brand_new-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, name in zip(files, names, strict=True):
            archive.write(file, name)
    return wheel


def test_a_wheel_is_checked_in_a_new_environment(tmp_path, capsys, monkeypatch):
    wheel = wheel_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, output, error = in_process(capsys, "check-plugin", wheel.relative_to(tmp_path), "--json")
    assert code == 0, error
    found = {(finding["subject"], finding["check"]): finding for finding in json.loads(output)}
    assert found["package", "builds"]["detail"].startswith(f"{wheel.name}, ")
    assert found["package", "import time"]["detail"].endswith(" s after domtrans and torch")
    assert found["package", "licence"]["detail"] == "MIT" and found["distance by-brand-new", "contracts"]["fault"] == ""


@pytest.mark.parametrize(
    ("path", "message"), [("./gone", "there is no folder or file"), (".", "is not the folder of a package")]
)
def test_what_is_no_package(tmp_path, capsys, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = in_process(capsys, "check-plugin", path)
    assert code == 2 and message in error


def test_a_package_that_cannot_be_built(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "no_backend.at_all"\n')
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "error: no network\n")
    )
    code, _, error = in_process(capsys, "check-plugin", ".")
    assert code == 2 and "the package cannot be checked: no network" in error
