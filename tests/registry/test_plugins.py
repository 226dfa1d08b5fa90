"""Plugins as they are installed: distributions with entry points on sys.path."""

import sys
import textwrap

import pytest

import domtrans
import domtrans_dtn
from domtrans import DomtransError, load_plugins
from processes import run

GOOD = """
    import domtrans

    @domtrans.hookimpl
    def register(registry):
        registry.distance("{name}", lambda a, b: (a - b).abs().max())
"""
HALF = """
    import domtrans

    @domtrans.hookimpl
    def register(registry):
        registry.distance("half-done", lambda a, b: a)
        registry.domain("mistaken", lambda: None)
"""
MISSPELT = """
    import domtrans

    @domtrans.hookimpl
    def registre(registry):
        pass
"""
WRONG_ARGUMENT = """
    import domtrans

    @domtrans.hookimpl
    def register(registry, settings):
        pass
"""
RAISES_IN_HOOK = """
    import domtrans

    @domtrans.hookimpl
    def register(registry):
        registry.distance("before-the-fall", lambda a, b: a)
        raise ValueError("three\\nlines\\nof words")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a distribution with one module and one entry point on sys.path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(name, code, *, distribution=None, module=None, version="1.0", target=None):
        distribution, module = distribution or f"dist-{name}", module or f"module_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code).replace("{name}", name))
        about = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(f"[domtrans]\n{name} = {target or module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    yield add
    for module in [name for name in sys.modules if name.startswith("module_")]:
        del sys.modules[module]


def info_of(plugins, name):
    return next(info for info in plugins.infos if info.name == name)


def test_shipped_plugins_are_entry_points_too_and_load_first(install):
    install("aaa", GOOD)
    plugins = load_plugins()
    names = [info.name for info in plugins.infos]
    assert {"dtn", "digits", "files"} <= set(names[: names.index("aaa")])
    assert not plugins.broken
    assert info_of(plugins, "digits").distribution == "domtrans" and info_of(plugins, "digits").version


def test_a_third_party_plugin_works(install):
    install("far", GOOD, version="2.5")
    plugins = load_plugins()
    info = info_of(plugins, "far")
    assert (info.distribution, info.version, info.module, info.error) == ("dist_far", "2.5", "module_far", None)
    assert plugins.registry.get("distance", "far").owner == "far"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('out of luck')", ["RuntimeError", "out of luck"]),
        ("import a_module_that_is_not_there", ["ModuleNotFoundError", "a_module_that_is_not_there"]),
        ("this is no Python", ["SyntaxError"]),
        ("raise SystemExit(3)", ["SystemExit"]),
        ("x = 1", ["'bad'", "no hook", "@domtrans.hookimpl"]),
        (HALF, ["'bad'", "'mistaken'", "split, size"]),
        (MISSPELT, ["'bad'", "registre"]),
        (WRONG_ARGUMENT, ["'bad'", "settings"]),
        (RAISES_IN_HOOK, ["ValueError"]),
    ],
)
def test_a_broken_plugin_is_reported_and_skipped_while_others_work(install, code, words):
    install("bad", code)
    install("zzz", GOOD)
    plugins = load_plugins()
    assert [info.name for info in plugins.broken] == ["bad"]
    assert all(word in info_of(plugins, "bad").error for word in words), info_of(plugins, "bad").error
    assert "\n" not in info_of(plugins, "bad").error and "Traceback" in info_of(plugins, "bad").details
    assert plugins.registry.get("distance", "zzz") and plugins.registry.get("distance", "mse")
    assert not [entry for entry in plugins.registry if entry.owner == "bad"]


def test_an_entry_point_that_names_nothing_is_reported(install):
    install("lost", GOOD, target="module_lost:no_such_object")
    assert "no_such_object" in info_of(load_plugins(), "lost").error


def test_an_entry_point_may_name_an_object_in_a_module(install):
    code = """
        import domtrans

        class Plugin:
            @domtrans.hookimpl
            def register(self, registry):
                registry.distance("by-object", lambda a, b: a)

        plugin = Plugin()
    """
    install("object", code, target="module_object:plugin")
    plugins = load_plugins()
    assert not plugins.broken and plugins.registry.get("distance", "by-object").owner == "object"


def test_a_plugin_that_uses_the_name_of_another_s_part_is_reported(install):
    install("thief", GOOD.replace("{name}", "mse"))
    plugins = load_plugins()
    assert "'thief'" in info_of(plugins, "thief").error and "'dtn'" in info_of(plugins, "thief").error
    assert plugins.registry.get("distance", "mse").owner == "dtn"


def test_two_plugins_with_one_name_are_refused_naming_both(install):
    install("twin", GOOD, distribution="dist-one", module="module_one")
    install("twin", GOOD, distribution="dist-two", module="module_two", version="3.0")
    with pytest.raises(
        DomtransError, match=r"called 'twin'.*module_one \(from dist_one 1.0\).*module_two \(from dist_two 3.0\)"
    ):
        load_plugins()


def test_a_third_party_plugin_cannot_use_the_name_of_a_shipped_one(install):
    install("dtn", GOOD)
    with pytest.raises(DomtransError, match=r"called 'dtn'.*domtrans_dtn.*module_dtn"):
        load_plugins()


def test_one_distribution_seen_twice_on_the_path_is_one_plugin(install, tmp_path, monkeypatch):
    install("once", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [info.name for info in load_plugins().infos].count("once") == 1


def test_loading_twice_gives_two_registries(install):
    install("again", GOOD)
    first, second = load_plugins().registry, load_plugins().registry
    first.distance("mine", lambda a, b: a)
    assert "mine" not in second.names("distance") and "again" in second.names("distance")


class Inline:
    """A plugin inside this program."""

    @domtrans.hookimpl
    def register(self, registry):
        registry.distance("inline", lambda a, b: a)


def test_a_program_may_pass_its_own_plugins():
    plugins = load_plugins(Inline())
    assert plugins.registry.get("distance", "inline").owner == "Inline"
    assert plugins.infos[-1].name == "Inline"


def test_an_error_in_a_plugin_that_a_program_passes_is_raised():
    class Empty:
        pass

    with pytest.raises(DomtransError, match="'Empty' has no hook"):
        load_plugins(Empty())


def test_a_plugin_that_is_installed_already_is_not_loaded_twice():
    with pytest.raises(DomtransError, match="domtrans_dtn"):
        load_plugins(domtrans_dtn)
    twice = Inline()
    with pytest.raises(DomtransError, match="Inline"):
        load_plugins(twice, twice)


TEN_LINES = """
    import numpy, domtrans

    def stripes(split, size, *, count=40):
        images = numpy.zeros((count, size, size), numpy.uint8)
        images[: count // 2, ::4] = 255
        images[count // 2 :, :, ::4] = 255
        return domtrans.ImageSet.from_arrays(images, numpy.arange(count) // (count // 2), size=size, about="stripes")

    @domtrans.hookimpl
    def register(registry):
        registry.domain("stripes", stripes)
"""
TRAIN = """
    from domtrans import train
    small = {"generator.width": 4, "discriminator.width": 4, "metrics.digits.steps": 2, "metrics.digits.batch_size": 4}
    run = train(
        "digits-dtn-paper", "run", device="cpu",
        overrides={"source": "stripes", "source.count": 24, "target": "stripes", "fit.steps": 2, "fit.batch_size": 4,
                   "train.steps": 2, "train.batch_size": 4} | small,
    )
    print(run.results["source"], run.results["steps"], run.results["n"])
"""


def test_a_ten_line_domain_plugin_trains_in_a_fresh_process(install, tmp_path):
    install("stripes", TEN_LINES)
    done = run("-c", textwrap.dedent(TRAIN), cwd=tmp_path, env={"PYTHONPATH": tmp_path, "PYTHONWARNINGS": "error"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["stripes", "2", "24"]
