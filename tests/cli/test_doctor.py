"""doctor: its findings on a working and on a broken installation."""

import collections

import pytest

from domtrans.cli import doctor
from installed_plugins import GOOD, install


def found(name):
    return [finding for finding in doctor.diagnose() if finding.name.startswith(name)]


def test_a_working_installation_is_healthy_and_everything_is_checked():
    findings = doctor.diagnose()
    assert doctor.is_healthy(findings), findings
    names = {finding.name.split()[0] for finding in findings}
    assert names >= {"python", "domtrans", "dependencies", "torch", "device", "cache", "disk", "plugins"}
    assert all(finding.fix for finding in findings if finding.status != "ok")


def test_a_broken_plugin_is_named_with_a_fix(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "ill", "raise RuntimeError('no such luck')")
    install(tmp_path, "well", GOOD)
    findings = doctor.diagnose()
    (ill,) = [finding for finding in findings if finding.name == "plugin ill"]
    assert ill.status == "broken" and "no such luck" in ill.found and "domtrans_ill" in ill.fix
    assert not doctor.is_healthy(findings)


def test_a_missing_and_an_old_dependency(monkeypatch):
    real = doctor.metadata.version

    def version(name):
        if name == "rich":
            raise doctor.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "pluggy" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    rich, pluggy = found("dependency rich"), found("dependency pluggy")
    assert rich[0].status == "broken" and rich[0].found == "not installed" and "pip install" in rich[0].fix
    assert "0.0.1 is installed, >=" in pluggy[0].found and "'pluggy>=" in pluggy[0].fix


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "file" / "cache"))
    (cache,) = found("cache")
    assert cache.status == "note" and "DOMTRANS_CACHE" in cache.fix
    assert found("disk")


@pytest.mark.parametrize(("free", "status"), [(1e6, "broken"), (1e9, "note"), (1e10, "ok")])
def test_free_disk(monkeypatch, free, status):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage(1e12, 0, free))
    assert {finding.status for finding in found("disk")} == {status}


def test_a_damaged_list_of_entry_points_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (install(tmp_path, "odd") / "entry_points.txt").write_text("no section = at all\n")
    (plugins,) = found("plugins")
    assert plugins.status == "broken" and str(tmp_path) in plugins.found


def test_a_check_that_fails_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "cache_folder", lambda: 1 / 0)
    assert "ZeroDivisionError" in found("cache")[0].found
