"""The notebook of the tutorials: its cells run, and its outputs are of the kind that they give."""

import ast
import io
import json
import re
from contextlib import redirect_stdout

import pytest

import domtrans
import notebook as notebook_page
from domtrans import override
from paths import DOCS
from tiny import registry, tiny_recipe

FILE = DOCS / "tutorials" / "notebook.ipynb"
NUMBER = re.compile(r"\d[\d.,e+-]*")


@pytest.fixture(scope="module")
def cells():
    """The code cells with their outputs."""
    return [cell for cell in json.loads(FILE.read_text())["cells"] if cell["cell_type"] == "code"]


def shapes(text):
    """Text without its numbers, and each line once: how many lines a log has depends on the steps."""
    return list(dict.fromkeys(NUMBER.sub("N", line) for line in text.splitlines()))


def executed(cell, names):
    """Run a cell; returns what it prints, and the value of its last line."""
    tree, printed, value = ast.parse("".join(cell["source"])), io.StringIO(), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not is_print(tree.body[-1].value) else None
    with redirect_stdout(printed):
        exec(compile(tree, cell["id"], "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
    return printed.getvalue(), value


def outputs_of(cell, kind):
    return [output for output in cell["outputs"] if output["output_type"] == kind]


def is_print(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "print"


def test_the_cells_run_and_give_such_outputs(cells, tmp_path, monkeypatch):
    """Small trainings stand in for those of the notebook, so outputs are compared without their numbers."""

    def train(recipe, out, *, overrides, **options):
        kept = {name: overrides[name] for name in ("description", "discriminator.classes", "metrics") if name in overrides}
        return real_train(override(tiny_recipe(tmp_path, recipe), kept, registry()), out, registry=registry(), **options)

    real_train = domtrans.train
    monkeypatch.setattr(domtrans, "train", train)
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells:
        printed, value = executed(cell, names)
        shown = outputs_of(cell, "stream")
        assert shapes("".join("".join(output["text"]) for output in shown)) == shapes(printed), cell["id"]
        results = [output["data"] for output in outputs_of(cell, "execute_result")]
        forms = [form for form, method in (("text/html", "_repr_html_"), ("image/png", "_repr_png_")) if hasattr(value, method)]
        assert [next(iter(data)) for data in results] == forms, cell["id"]


def test_the_trainings_of_the_notebook_show_bars(cells):
    bars = ["".join(output["data"]["text/html"]) for cell in cells for output in outputs_of(cell, "display_data")]
    assert len(bars) == 2 and all("training g and D" in shown and "evaluating" in shown for shown in bars)


def test_nothing_in_the_notebook_failed_or_names_the_machine(cells):
    assert not [cell["id"] for cell in cells if outputs_of(cell, "error")]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not re.findall(r"/(?:tmp|home|root|work|Users)/", FILE.read_text())


def test_the_page_has_every_cell_and_output(cells):
    page = "\n\n".join(notebook_page.as_markdown(json.loads(FILE.read_text())))
    assert page.startswith("# domtrans in a notebook")
    assert page.count("```python") == len(cells)
    assert page.count('<div class="output"') == sum(len(cell["outputs"]) for cell in cells)
