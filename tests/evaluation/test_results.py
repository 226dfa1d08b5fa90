"""results.json: its sections, and files without them."""

import json

import domtrans
from domtrans import load_plugins
from domtrans.evaluation.results import SECTIONS, check_rows, in_sections, not_measured, results_of, run_rows
from paths import FIXTURES
from tiny import tiny_recipe
from tiny_runs import go

MEASURED = {"source": "bars", "target": "dots", "accuracy": 0.5, "n": 9, "not_measured": {"m": "no labels"}}
RUN = {"steps": 20, "seconds": {"training": 2.0}, "device": "cpu", "seed": 3}
CHECKS = {"supervision": "none of the target", "health": {}, "changed": ["from step 2: view"]}


def test_results_are_in_sections_and_beside_them():
    results = results_of(MEASURED, run=RUN, checks=CHECKS)
    assert results["metrics"] == {"accuracy": 0.5, "n": 9}
    assert results["run"] == RUN | {"source": "bars", "target": "dots"}
    assert results["checks"] == CHECKS | {"not_measured": {"m": "no labels"}}
    assert {key: value for key, value in results.items() if key not in SECTIONS} == MEASURED | RUN | CHECKS


def test_a_run_has_its_results_in_sections(tmp_path):
    run = go(tiny_recipe(tmp_path), tmp_path / "run")
    assert run.results["metrics"]["accuracy"] == run.results["accuracy"]
    assert run.results["run"]["steps"] == run.results["steps"] == 4
    assert run.results["checks"]["supervision"] == run.results["supervision"]
    flat = {key: value for key, value in run.results.items() if key not in SECTIONS}
    assert in_sections(flat) == {name: run.results[name] for name in SECTIONS}  # no key is missing from the table


def test_results_without_sections_are_read_as_if_they_had_them():
    old = json.loads((FIXTURES / "run-domtrans-1" / "results.json").read_text())
    assert not old.keys() & SECTIONS.keys()
    run = domtrans.runs.folder.RunFolder(FIXTURES / "run-domtrans-1").results()
    assert run | old == run and run["run"]["steps"] == old["steps"] and run["checks"]["supervision"] == old["supervision"]
    for rows in (check_rows, run_rows, not_measured):
        assert list(rows(old)) == list(rows(run))


def test_a_metric_whose_key_domtrans_uses_keeps_it_under_its_own_name(tmp_path):
    class Clashing:
        @domtrans.hookimpl
        def register(self, registry):
            registry.metric("clashing", lambda inputs: {"seed": 1, "data_notes": 4, "metrics": 2.0, "mine": 3})

    extended = load_plugins(Clashing()).registry
    recipe = domtrans.override(tiny_recipe(tmp_path), {"metrics": {"c": {"name": "clashing"}}}, extended)
    results = domtrans.train(recipe, tmp_path / "run", device="cpu", registry=extended).results
    assert results["metrics"] == {"c.seed": 1, "c.data_notes": 4, "c.metrics": 2.0, "mine": 3}
    assert results["run"]["seed"] == results["seed"] == 0
