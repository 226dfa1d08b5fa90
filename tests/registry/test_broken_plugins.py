"""Broken and hostile plugins: the command line stays usable next to each of them, and names it."""

import json
import os

import pytest

from domtrans import DomtransError, load_plugins
from installed_plugins import GOOD, install
from processes import run

SHIPPED = {"digits", "dtn", "encoders", "engines", "faces", "files", "images", "interop", "trackers"}


def command(folder, *words, **environment):
    """Run ``domtrans`` in a process that has the folder on its path."""
    return run("-m", "domtrans", *words, env={"PYTHONPATH": folder, "DOMTRANS_PLUGINS": None} | environment)


REGISTERS = """
    import domtrans

    def part(a, b):
        "A part."
        return a

    @domtrans.hookimpl
    def register(registry):
        registry.distance("left-behind", part)
        {line}
"""
HOSTILE = {
    "raises": ("raise RuntimeError('the driver is missing')", "RuntimeError: the driver is missing"),
    "exits": ("raise SystemExit('bye')", "SystemExit: bye"),
    "escapes": ("class Odd(BaseException): pass\nraise Odd('beyond Exception')", "Odd: beyond Exception"),
    "rubbish": (REGISTERS.replace("{line}", "registry.domain('junk', 42)"), "a part is a class or function, not int"),
    "nameless": (REGISTERS.replace("{line}", "registry.domain('', part)"), "a name is a word"),
    "shadows": (REGISTERS.replace("{line}", "registry.distance('mse', part)"), "a name that plugin 'dtn' uses already"),
    "repeats": (
        REGISTERS.replace("{line}", "registry.distance('left-behind', part)"),
        "'left-behind', a name that plugin 'repeats'",
    ),
    "newer": ("domtrans_interface = 99" + REGISTERS.replace("{line}", "").replace("\n    ", "\n"), "upgrade domtrans"),
    "lying": (REGISTERS.replace("{line}", "registry.planet('mars', part)"), "has no attribute 'planet'"),
}
TALKATIVE = (
    """
    import sys
    import warnings
    print("hello from a plugin")
    sys.stderr.write("and a word on stderr\\n")
    warnings.warn("and a warning")
"""
    + GOOD
)
NOTICED = (
    """
    from pathlib import Path
    Path(__file__).with_suffix(".imported").touch()
"""
    + GOOD
)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A folder with all of them at once, and with plugins that work."""
    folder = tmp_path_factory.mktemp("street")
    for name, (code, _) in HOSTILE.items():
        install(folder, name, code)
    install(folder, "talkative", TALKATIVE)
    install(folder, "paperless", metadata=False)
    install(folder, "decent")
    return folder


@pytest.fixture(scope="module")
def listed(street):
    """The output of ``domtrans plugins --json --verbose``; standard output holds nothing but JSON."""
    done = command(street, "plugins", "--json", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "hello from a plugin" in done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_is_listed_as_broken_with_the_reason_and_registers_nothing(listed, name):
    assert HOSTILE[name][1] in listed[name]["error"] and "\n" not in listed[name]["error"]
    assert listed[name]["registers"] == {} and "Traceback" in listed[name]["details"]


@pytest.mark.parametrize("name", ["decent", "talkative", "paperless"])
def test_the_other_plugins_work(listed, name):
    assert listed[name]["error"] is None and listed[name]["registers"] == {"distance": [f"by-{name}"]}
    assert listed[name]["version"] == "1.0" and listed[name]["interface"] == 1


def test_commands_work_next_to_them_and_name_each(street):
    done = command(street, "show", "distance", "by-decent")
    assert done.returncode == 0 and "The largest difference." in done.stdout
    for name in HOSTILE:
        assert f"warning: the plugin '{name}' of domtrans_{name} 1.0 was skipped" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_plain_list_shows_the_last_line_of_the_error(street):
    done = command(street, "plugins")
    assert "broken: RuntimeError: the driver is missing" in done.stdout and "Traceback" not in done.stdout


def test_plugins_that_are_not_selected_are_not_loaded(street):
    done = command(street, "plugins", "--json", DOMTRANS_PLUGINS="decent, paperless")
    assert {one["name"] for one in json.loads(done.stdout)} == SHIPPED | {"decent", "paperless"}
    assert done.stderr == ""


@pytest.mark.parametrize("choice", ["descent", "decent,descent"])
def test_a_plugin_that_is_not_installed_cannot_be_selected(street, monkeypatch, choice):
    monkeypatch.syspath_prepend(str(street))
    monkeypatch.setenv("DOMTRANS_PLUGINS", choice)
    with pytest.raises(DomtransError, match=r"DOMTRANS_PLUGINS names 'descent', which is not.*did you mean 'decent'"):
        load_plugins()
    with pytest.raises(DomtransError, match=r"load_plugins\(only=...\) names 'nobody'"):
        load_plugins(only=("nobody",))


def test_doctor_names_them_and_exits_with_1(street):
    done = command(street, "doctor", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    broken = {finding["name"] for finding in report["findings"] if finding["status"] == "broken"}
    assert not report["healthy"] and broken == {f"plugin {name}" for name in HOSTILE}


def test_the_help_imports_no_plugin(tmp_path):
    install(tmp_path, "noticed", NOTICED)
    assert command(tmp_path, "--help").returncode == 0 and not list(tmp_path.glob("*.imported"))
    assert command(tmp_path, "recipes").returncode == 0 and list(tmp_path.glob("*.imported"))


def test_two_plugins_with_one_name_can_be_left_out(tmp_path):
    for index in (1, 2):
        folder = tmp_path / str(index)
        folder.mkdir()
        install(folder, "twin").rename(folder / f"other{index}-1.0.dist-info")
        if index == 2:
            (folder / "neighbour_twin.py").rename(folder / "neighbour_other.py")
            (folder / "other2-1.0.dist-info" / "entry_points.txt").write_text("[domtrans]\ntwin = neighbour_other\n")
    both = f"{tmp_path / '1'}{os.pathsep}{tmp_path / '2'}"
    done = command(both, "recipes")
    assert (
        done.returncode == 2
        and "called 'twin': neighbour_twin (from other1 1.0) and neighbour_other (from other2 1.0)" in done.stderr
    )
    assert command(both, "recipes", DOMTRANS_PLUGINS="").returncode == 0
