"""How a run shows itself: its line, its HTML in a notebook, and its history."""

import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from domtrans import DomtransError, load
from domtrans.runs.folder import RunFolder


@pytest.fixture(scope="module")
def run(trained):
    return load(trained[0], device="cpu")


def test_the_line_of_a_run_names_recipe_file_and_main_metric(run):
    accuracy = f"{100 * run.results['accuracy']:.1f} %"
    assert repr(run) == f"Run(digits-dtn-paper, {run.file}, transfer accuracy {accuracy})"


def test_the_history_is_the_log(run):
    assert run.history == RunFolder(run.path).metrics() and run.history[-1]["step"] == 4
    assert "generator.const" in run.history[0]


def test_the_html_has_metrics_curves_and_the_newest_grid_and_no_links(run):
    page = run._repr_html_()
    assert "transfer accuracy" in page and page.count("data:image/png;base64,") == 2
    assert "http" not in page.replace("http://www.w3.org", "")


def test_values_that_repeat_for_names_are_a_table_of_the_html(run, monkeypatch):
    monkeypatch.setattr(run, "results", {"skin_balanced_accuracy": 0.75, "skin_chance_accuracy": 0.5})
    page = run._repr_html_()
    assert "<tr><th>attribute</th><th>balanced accuracy</th><th>chance</th></tr>" in page
    assert "skin</th><td>75.0 %</td><td>50.0 %</td></tr>" in page


def test_a_notebook_displays_the_run(run, monkeypatch):
    shown = []
    display = SimpleNamespace(display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object(), display=display))
    run.show()
    assert shown == [run]


def test_elsewhere_the_newest_grid_is_opened(run, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(Image.Image, "show", lambda image, title: opened.append((image.size, title)))
    run.show()
    with Image.open(max((run.path / "samples").glob("*.png"))) as grid:
        assert opened == [(grid.size, "digits-dtn-paper")]
    monkeypatch.setattr(run, "path", tmp_path)
    with pytest.raises(DomtransError, match="has no sample grid to show"):
        run.show()
