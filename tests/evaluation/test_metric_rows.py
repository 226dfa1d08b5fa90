"""How metrics are shown: labels, units and order as plugins declare them, and tables of values that repeat for names."""

import pytest

import domtrans
from domtrans import DomtransError, MetricValue, find_recipe, load_plugins
from domtrans.evaluation.metric_rows import declared_values, metric_rows, metric_tables, own_rows
from tiny import registry

SIZES = (MetricValue("{animal}_size", "size", unit="m"), MetricValue("{animal}_share", "share", unit="%"))
MEASURED = {"n": 5, "cat_size": 0.5, "cat_share": 0.25, "sea_lion_size": 2.5, "fid": 1.5}


def by_key(*values):
    return {value.key: value for value in values}


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


def test_values_that_repeat_for_several_names_are_one_table():
    rows = metric_rows(MEASURED, by_key(*SIZES))
    assert [row.label for row in own_rows(rows)] == ["test images", "fid"]
    (table,) = metric_tables(rows)
    assert (table.names, [column.label for column in table.columns]) == ("animal", ["size", "share"])
    assert table.rows == (("cat", ("0.5 m", "25.0 %")), ("sea lion", ("2.5 m", "\N{EN DASH}")))


def test_a_table_has_the_values_of_all_runs_that_measured_some():
    values = by_key(*SIZES)
    measured = ({"fid": 1.5}, {"cat_size": 1.0}, {"cat_size": 2.0, "dog_share": 0.5})
    (table,) = metric_tables(*(metric_rows(of_run, values) for of_run in measured))
    none = "\N{EN DASH}"
    assert table.runs == (1, 2)
    assert table.rows == (("cat", ("1 m", "2 m", none, none)), ("dog", (none, none, none, "50.0 %")))


def test_a_key_without_braces_and_the_longer_of_two_keys_take_precedence():
    values = by_key(
        MetricValue("all_accuracy", "all", main=True),
        MetricValue("{thing}_accuracy", "accuracy"),
        MetricValue("{rank}_chance_accuracy", "chance"),
    )
    rows = metric_rows({"all_accuracy": 0.5, "cup_accuracy": 0.25, "top_1_chance_accuracy": 0.1, "_accuracy": 0.2}, values)
    assert [(row.label, row.main) for row in own_rows(rows)] == [("all", True), (" accuracy", False)]
    assert [(table.names, table.rows) for table in metric_tables(rows)] == [
        ("thing", (("cup", ("25.0 %",)),)),
        ("rank", (("top 1", ("10.0 %",)),)),
    ]


def test_values_of_a_second_metric_are_labelled_with_its_name():
    class Animals:
        @domtrans.hookimpl
        def register(self, registry):
            values = (*SIZES, MetricValue("mean_size", "mean size", unit="m", main=True))
            registry.metric("animals", lambda inputs: {}, values=values)

    extended = load_plugins(Animals()).registry
    recipe = domtrans.override(find_recipe("digits-dtn", extended), {"metrics.a": "animals", "metrics.b": "animals"}, extended)
    measured = {"mean_size": 1.0, "b.mean_size": 2.0, "cat_size": 0.5, "b.cat_size": 0.25, "b.odd_thing": 3.0}
    rows = metric_rows(measured, declared_values(extended, recipe))
    assert [(row.label, row.text, row.main) for row in own_rows(rows)] == [
        ("mean size", "1 m", True),
        ("b: mean size", "2 m", False),
        ("b: odd thing", "3", False),
    ]
    (table,) = metric_tables(rows)
    assert [column.label for column in table.columns] == ["size", "b: size"] and table.rows == (("cat", ("0.5 m", "0.25 m")),)


def test_equal_numbers_of_test_images_are_shown_once():
    rows = metric_rows({"n": 9, "realism.n": 9, "identity.n": 4}, {})
    assert [(row.label, row.text) for row in rows] == [("test images", "9"), ("identity: n", "4")]


def test_a_value_that_is_none_is_a_dash():
    assert [row.text for row in metric_rows({"accuracy": None}, {})] == ["\N{EN DASH}"]


@pytest.mark.parametrize(
    ("key", "main", "words"),
    [("{a}_of_{b}", False, "has 2 names in braces; one is possible"), ("{a}_size", True, "and only one can be main")],
)
def test_what_a_key_with_names_in_braces_cannot_be_is_refused(key, main, words):
    with pytest.raises(DomtransError, match=words):
        MetricValue(key, "size", main=main)


def test_the_values_of_attributes_are_one_table():
    values = declared_values(registry(), find_recipe("lfw-looks-dtn", registry()))
    measured = {
        "attribute_balanced_accuracy": 0.5,
        "attribute_chance_accuracy": 0.25,
        "skin_balanced_accuracy": 0.75,
        "skin_chance_accuracy": 0.5,
        "skin_evaluator_accuracy": 1.0,
        "f_skin_source_accuracy": 0.9,
        "identity_top_1_accuracy": 0.125,
        "identity_top_1_chance_accuracy": 0.01,
        "photo_top_1_accuracy": 0.8,
    }
    rows = metric_rows(measured, values)
    assert [row.key for row in own_rows(rows)] == ["attribute_balanced_accuracy", "attribute_chance_accuracy"]
    assert [(table.names, table.rows) for table in metric_tables(rows)] == [
        ("attribute", (("skin", ("75.0 %", "50.0 %", "100.0 %", "90.0 %")),)),
        ("first", (("1", ("12.5 %", "1.0 %", "80.0 %")),)),
    ]
