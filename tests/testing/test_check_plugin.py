"""``check_plugin``: one report on an installed plugin."""

import json

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
        PluginFinding("package", "licence"),
        PluginFinding("distance by-good", "contracts"),
    ]


def test_a_bad_plugin(plugins):
    found = {(finding.subject, finding.check): finding for finding in check_plugin("domtrans_bad")}
    assert "does not state the interface version" in found["package", "interface"].fault
    assert "states no licence" in found["package", "licence"].fault
    assert "its docstring does not explain the option 'slope'. The contract: " in found["distance flat", "contracts"].fault
    assert found["domain lost", "contracts"].skipped == "it needs options: give lost.path=VALUE"
    with pytest.raises(DomtransError, match="no plugin 'other' is installed"):
        check_plugin("other")


def test_the_command(plugins, capsys):
    code, output, _ = in_process(capsys, "check-plugin", "good")
    assert code == 0 and output.splitlines()[-1].split() == ["distance", "by-good", "contracts", "ok"]
    code, output, _ = in_process(capsys, "check-plugin", "domtrans-bad", "lost.path=x", "--json")
    (lost,) = [finding for finding in json.loads(output) if finding["subject"] == "domain lost"]
    assert code == 1 and lost["fault"] and not lost["skipped"]
