"""The results of a run on the terminal."""

from domtrans.cli.terminal import show_entries, show_results
from domtrans.evaluation.metric_rows import declared_values
from tiny import registry


def test_values_that_repeat_for_names_are_a_table_between_the_other_rows(tmp_path, capsys):
    results = {"n": 9, "skin_balanced_accuracy": 0.75, "eyes_balanced_accuracy": 1.0, "skin_chance_accuracy": 0.5, "health": {}}
    show_results(results, tmp_path, declared_values(registry()), "models:mine")
    assert capsys.readouterr().out.splitlines() == [
        "test images  9",
        "",
        "attribute  balanced accuracy  chance",
        "skin                  75.0 %  50.0 %",
        "eyes                 100.0 %       \N{EN DASH}",
        "",
        "health       nothing to report",
        "run          models:mine",
    ]


def test_a_list_of_parts_has_no_marks_for_code(capsys):
    show_entries("recipe", [registry().get("recipe", "folders-dtn")])
    assert "source.path=A target.path=B" in (said := capsys.readouterr().out) and "`" not in said
