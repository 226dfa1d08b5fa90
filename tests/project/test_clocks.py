"""No test depends on the speed of the machine: tests read no clock, and limits on time only end what hangs."""

import ast

import pytest

from paths import ROOT

CLOCKS = {
    "helpers/processes.py": "polls what it waits for, and ends what hangs",
    "helpers/fuzz_checkpoints.py": "prints how long a run by hand takes",
}
"""Files that may import ``time``, and why."""
HANGING_SECONDS = 120
"""The least limit on time: no machine is so slow, so only what hangs takes longer."""
FILES = {str(path.relative_to(ROOT / "tests")): path for path in sorted((ROOT / "tests").rglob("*.py"))}


def faults(tree):
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(name.name == "time" for name in names):
                yield f"line {node.lineno} imports time"
            case ast.ImportFrom(module="time"):
                yield f"line {node.lineno} imports from time"
            case ast.keyword(arg="timeout", value=ast.Constant(value=seconds)) if seconds < HANGING_SECONDS:
                yield f"line {node.value.lineno} has a limit of {seconds} s"
            case ast.Call(func=ast.Attribute(attr="wait" | "join"), args=[ast.Constant(value=int() | float() as seconds)]):
                if seconds < HANGING_SECONDS:
                    yield f"line {node.lineno} waits {seconds} s"
            case ast.Call(func=ast.Name(id="settings"), keywords=keywords):
                deadlines = [option.value for option in keywords if option.arg == "deadline"]
                if not deadlines or not isinstance(deadlines[0], ast.Constant) or deadlines[0].value is not None:
                    yield f"line {node.lineno}: hypothesis needs deadline=None"


@pytest.mark.parametrize("name", FILES)
def test_tests_do_not_depend_on_the_speed_of_the_machine(name):
    found = list(faults(ast.parse(FILES[name].read_text())))
    assert bool(found) == (name in CLOCKS), found


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "from time import perf_counter",
        "process.communicate(timeout=5)",
        "process.wait(30)",
        "@settings(max_examples=3)\ndef test(): pass",
        "@settings(deadline=200)\ndef test(): pass",
    ],
)
def test_clocks_are_found(code):
    assert list(faults(ast.parse(code)))
