"""What the cache takes as the identity of a part: its options, its code, and the code of its package that it uses."""

import importlib
import sys

import pytest

from domtrans import Registry, use
from domtrans.registry.identity import identity

FIT = (
    "from blur_plugin.schedule import rate\n\n\ndef fit(encoder, source, session, *, steps: int = 1):\n    return rate(steps)\n"
)
OTHERS = {"__init__.py": "", "fits.py": FIT, "other.py": "VALUE = 1\n"}


@pytest.fixture
def identified(tmp_path, monkeypatch):
    """Write the modules of a plugin and return the identity of its fit."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "blur_plugin"
    folder.mkdir()

    def identified(options=None, **modules):
        for name, text in (OTHERS | modules).items():
            (folder / name.replace("_py", ".py")).write_text(text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "blur_plugin"]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        registry = Registry()
        registry.fit("blur", importlib.import_module("blur_plugin.fits").fit)
        importlib.import_module("blur_plugin.other")
        return identity(registry, "fit", use("blur", **(options or {})))

    return identified


def test_code_that_a_part_uses_belongs_to_it_and_other_modules_do_not(identified):
    before = identified(schedule_py="def rate(steps):\n    return steps\n")
    assert identified(schedule_py="def rate(steps):\n    return steps\n") == before
    assert identified(schedule_py="def rate(steps):\n    return steps\n", other_py="VALUE = 2\n") == before
    assert identified(schedule_py="def rate(steps):\n    return 2 * steps\n") != before


def test_options_belong_to_it(identified):
    module = {"schedule_py": "def rate(steps):\n    return steps\n"}
    assert identified(options={"steps": 2}, **module) != identified(**module)
