"""Interface versions: what a plugin states, and the advice for one written for another version."""

import types

import pytest

import domtrans
from domtrans import DomtransError, load_plugins
from domtrans.registry import compatibility


def plugin(**attributes):
    """Make the module of a plugin with these attributes."""

    @domtrans.hookimpl
    def register(registry):
        registry.distance("of-the-plugin", lambda a, b: a)

    module = types.ModuleType("visitor")
    for name, value in (attributes | {"register": register}).items():
        setattr(module, name, value)
    return module


def load(**attributes):
    return load_plugins(plugin(**attributes), only=()).infos[-1]


def test_shipped_plugins_state_the_current_version():
    assert {info.interface for info in load_plugins(only=()).infos} == {domtrans.INTERFACE_VERSION}


def test_a_plugin_without_a_version_is_loaded_as_current_and_shown_as_unstated():
    info = load()
    assert info.interface is None and info.error is None and info.advice is None


def test_the_current_version_is_accepted():
    assert load(domtrans_interface=domtrans.INTERFACE_VERSION).interface == domtrans.INTERFACE_VERSION


def test_a_plugin_for_a_newer_domtrans_is_refused_saying_what_to_upgrade():
    with pytest.raises(DomtransError, match=r"'visitor' is written for interface version 2.*has version 1.*upgrade domtrans"):
        load(domtrans_interface=2)


@pytest.mark.parametrize("stated", ["1", 1.0, True, 0, -1])
def test_a_version_that_is_not_an_integer_is_refused(stated):
    with pytest.raises(DomtransError, match="'visitor'"):
        load(domtrans_interface=stated)


def test_one_version_back_warns_its_author(monkeypatch):
    for name in ("digits", "dtn", "encoders", "engines", "faces", "files", "images", "interop", "trackers"):
        monkeypatch.setattr(f"domtrans_{name}.domtrans_interface", 2)
    monkeypatch.setattr(compatibility, "INTERFACE_VERSION", 2)
    with pytest.warns(DeprecationWarning, match=r"'visitor'.*version 1.*has version 2.*upgrade the plugin"):
        load_plugins(plugin(domtrans_interface=1), only=())


@pytest.mark.filterwarnings("ignore:plugin")
def test_one_version_back_works_with_advice_for_its_user(monkeypatch):
    monkeypatch.setattr(compatibility, "INTERFACE_VERSION", 2)
    plugins = load_plugins(plugin(domtrans_interface=1), only=())
    assert "upgrade the plugin" in plugins.infos[-1].advice
    assert "of-the-plugin" in plugins.registry.names("distance")


def test_two_versions_back_is_refused_saying_what_to_upgrade(monkeypatch):
    monkeypatch.setattr(compatibility, "INTERFACE_VERSION", 3)
    with pytest.raises(DomtransError, match=r"version 1.*has version 3: upgrade the plugin"):
        compatibility.check_interface("visitor", plugin(domtrans_interface=1))
