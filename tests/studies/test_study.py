"""Studies as data: their checks, the values of their tables, and the tables as text."""

import json
import re
import statistics

import pytest

from domtrans import DomtransError, Published, Row, Study, use
from domtrans.recipe.overrides import assignment, parse
from domtrans.reporting.plots import confusion_png, losses_png
from domtrans.studies.markdown import cells, format_summary
from domtrans.studies.study import select_rows
from domtrans.studies.tables import rank_correlation, summarise, value_at
from paths import DOCS
from study_tables import table


def study_of(*tables):
    return Study("s", "About.", tables)


@pytest.mark.parametrize(
    ("tables", "fault"),
    [
        ([table(Row("../up", "", "tiny"))], "use lower-case letters, digits and hyphens"),
        ([table(Row("a", "", "tiny")), table(Row("a", "", "tiny", {"seed": 1}))], "two experiments called 'a'"),
        ([table(Row("a", "", "tiny", published=(Published(1, "x", "y"),)))], "cites a value for 'y', which is not a column"),
        ([table(Row("a", "", "tiny"), columns=())], "has no columns"),
    ],
)
def test_an_inconsistent_study_is_refused(tables, fault):
    with pytest.raises(DomtransError, match=fault):
        study_of(*tables)


def test_rows_are_selected_by_name_and_stay_in_order():
    study = study_of(table(*(Row(name, "", "tiny") for name in "abc")), table(Row("b", "", "tiny"), title="Again"))
    assert select_rows(study, ()) == ["a", "b", "c"] and select_rows(study, ("c", "a")) == ["a", "c"]
    with pytest.raises(DomtransError, match="has no row 'd'"):
        select_rows(study, ("d",))


def test_changes_may_hold_parts():
    row = Row("a", "", "tiny", {"source": use("arrays", path="x.npz")}, {"metrics": {"digits": use("digit-accuracy")}})
    assert row.changes == {"source": {"name": "arrays", "path": "x.npz"}}
    assert row.measured == {"metrics": {"digits": {"name": "digit-accuracy"}}} and json.dumps(row.changes)


def test_the_study_in_the_docs_is_valid():
    page = (DOCS / "reproduce.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict = {}
    exec(code, found)
    study = found["rings"]()
    assert [row.name for row in study.rows()] == ["as-it-is", "no-tid"]


# Values


def test_a_value_is_found_by_its_path():
    results = {"accuracy": 0.5, "per_class": [0.1, None], "table": {"deep": 2}, "word": "no", "flag": True}
    assert [value_at(results, path) for path in ("accuracy", "per_class.0", "table.deep")] == [0.5, 0.1, 2.0]
    for path in ("absent", "per_class.1", "per_class.7", "accuracy.0", "word", "flag", "per_class.x"):
        assert value_at(results, path) is None


def test_mean_and_deviation_are_over_the_seeds():
    values = {0: 0.9, 1: 0.94, 5: 0.95}
    found = summarise(values)
    assert found["mean"] == pytest.approx(0.93) and found["std"] == pytest.approx(statistics.stdev(values.values()))
    assert found["values"] == {"0": 0.9, "1": 0.94, "5": 0.95}
    assert format_summary(found, percent=True) == "93.0 ± 2.6 %"
    assert format_summary(summarise({0: 0.4567}), percent=False) == "0.457" and format_summary(None, percent=True) == "-"
    assert format_summary(summarise({0: 60, 1: 75.3}), percent=False) == "67.7 ± 10.8"
    assert format_summary(summarise({0: 0.0, 1: 0.0}), percent=False) == "0.00 ± 0.00"
    assert (
        format_summary(summarise({0: -0.0123}), percent=False) == "-0.0123"
        and format_summary(summarise({0: 1234.5}), percent=False) == "1234"
    )


def test_rank_correlation_is_spearmans():
    assert rank_correlation([(1, 10), (2, 20), (3, 21)]) == pytest.approx(1)
    assert rank_correlation([(1, 30), (2, 20), (3, 10), (4, 1)]) == pytest.approx(-1)
    assert rank_correlation([(1, 1), (2, 3), (3, 2)]) == pytest.approx(0.5)
    assert rank_correlation([(1, 1), (2, 2)]) is None and rank_correlation([(1, 1), (1, 2), (1, 3)]) is None


@pytest.mark.parametrize("value", ["text", "none", "2", "true", 2, 1e-3, True, None, [1, "a"], {"name": "mse", "x": {"y": 1}}])
def test_an_assignment_is_read_as_the_value_it_was_made_from(value):
    assert parse([assignment("a.b", value)]) == [("a.b", value)]


def test_charts_are_images():
    logs = {"seed 0": [{"step": 1, "seconds": 1, "generator.gan": 2.0}, {"step": 2, "seconds": 2, "generator.gan": 1.0}]}
    for picture in (losses_png(logs), losses_png({"seed 0": []}), confusion_png([[3, 1], [0, 0]], ["a", "b"])):
        assert picture.startswith(b"\x89PNG")


def test_a_supervised_row_is_marked():
    row = {"name": "a", "figures": {}, "published": [], "seeds": [0], "failed": {}, "supervision": "supervised: oracle"}
    row["training_seconds"] = None
    columns = [{"title": "accuracy", "percent": True}]
    assert cells({"columns": columns, "rows": [row], "published": []})[1] == [["a *", "-", "-", "-"]]
