"""results.json: its sections, files without them, and how values are labelled."""

import json

import pytest

import domtrans
from domtrans import MetricValue, find_recipe, load_plugins
from domtrans.evaluation.results import (
    SECTIONS,
    check_rows,
    declared_values,
    in_sections,
    metric_rows,
    not_measured,
    results_of,
    run_rows,
)
from paths import FIXTURES
from tiny import registry, tiny_recipe
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


def test_labels_and_order_come_from_the_plugin_that_registers_the_metric():
    values = declared_values(registry(), find_recipe("digits-dtn", registry()))
    measured = {"accuracy": 0.5, "fid": 2.0, "evaluator_accuracy": 0.9, "n": 3, "source": "a", "encoder_accuracy": 0.25}
    rows = metric_rows(measured, values)
    assert [(row.label, row.text) for row in rows] == [
        ("source data", "a"),
        ("accuracy of f", "25.0 %"),
        ("transfer accuracy", "50.0 %"),
        ("evaluator accuracy", "90.0 %"),
        ("test images", "3"),
        ("fid", "2"),
    ]
    assert [row.key for row in rows if row.main] == ["accuracy"]
    assert [row.label for row in metric_rows(measured, {})][:2] == ["source data", "test images"]


@pytest.mark.parametrize(("unit", "text"), [(None, "0.25"), ("%", "25.0 %"), ("px", "0.25 px"), ("", "0.25")])
def test_a_metric_says_its_unit(unit, text):
    values = {"shift": MetricValue("shift", "how far", unit=unit)}
    assert [row.text for row in metric_rows({"shift": 0.25}, values)] == [text]


def test_the_metrics_of_the_recipe_come_before_others_of_the_same_key():
    class Two:
        @domtrans.hookimpl
        def register(self, registry):
            for name in ("one", "two"):
                registry.metric(name, lambda inputs: {"x": 1.0}, values=[MetricValue("x", name)])

            @registry.metric("three", values=[MetricValue("y", "by a decorator")])
            def three(inputs):
                return {"y": 1.0}

    extended = load_plugins(Two()).registry
    recipe = find_recipe("digits-dtn", extended)
    with_one = domtrans.override(recipe, {"metrics.m": "one"}, extended)
    assert declared_values(extended, with_one)["x"].label == "one"
    assert declared_values(extended)["y"].label == "by a decorator"
