"""The report: the content of the page, and reports on unfinished, damaged and hostile runs."""

import html
import json
import os
import re
import shlex
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

import domtrans
import dots
from commands import domtrans as domtrans_command
from commands import in_process
from domtrans import DomtransError, find_recipe, override, report, train, use
from domtrans.reporting.curves import Curve
from domtrans.reporting.per_class import per_class
from domtrans.reporting.records import read_records
from domtrans.reporting.rerun_command import changed_options, rerun_command
from domtrans.runs.examples import read_examples, write_examples
from run_results import change_results
from tiny import registry, tiny_recipe
from work import Calls

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    return train(tiny_recipe(root, train__sample_every=1), root / "run", device="cpu", registry=registry()).path


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def page_of(*runs, out=None):
    return report(list(runs), out, registry=registry()).read_text(encoding="utf-8")


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def add_to_log(run, *lines):
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# The report of a training


def test_training_ends_with_a_report(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    results = json.loads((run / "results.json").read_text())
    for words in (
        "<h1>run</h1>",
        f"{100 * results['accuracy']:.1f} %",
        "share of source test images whose transfer the evaluator assigns to the source&#39;s label",
        "Measured at step 4",
        "feature-consistency, weight 15",
        "none of the target",
        "digits-dtn-paper",
        "None: no health alarm, and no change of the recipe.",
    ):
        assert words in page, words
    data = data_of(page)
    assert list(data["samples"][0]) == ["1", "2", "3", "4"]
    curves = {chart["name"]: chart["curves"][0] for chart in data["charts"]}
    assert curves["generator.const"]["step"] == [1, 2, 3, 4] and len(curves["health.surprise"]["value"]) == 4


def test_the_page_loads_nothing(run):
    page = page_of(run)
    assert not re.findall(r'(?:src|href|action|srcset)="(?!data:|#)', page) and "@import" not in page and "url(" not in page
    assert "default-src 'none'" in page.partition("<style>")[0]


def test_every_image_has_a_text_and_every_heading_its_level(run):
    page = page_of(run)
    assert all('alt="' in image for image in re.findall(r"<img [^>]*>", page))
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))


def test_a_report_that_fails_fails_no_training(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no ink")

    monkeypatch.setattr("domtrans.training.train.report", broken)
    notes = []
    recipe = tiny_recipe(tmp_path, train__steps=1)
    done = train(recipe, tmp_path / "run", device="cpu", registry=registry(), listeners=(lambda p: notes.append(p.note),))
    assert done.results["steps"] == 1 and not (done.path / "report.html").exists()
    assert [note for note in notes if "no ink" in note and "domtrans report" in note]


def test_examples_are_the_furthest_and_their_neighbours_the_nearest(run):
    loaded = domtrans.load(run, device="cpu", registry=registry())
    found = read_examples(run / "examples.safetensors")
    test = domtrans.load_domain(registry(), loaded.recipe.source, "test", 32)
    real = domtrans.load_domain(registry(), loaded.recipe.target, "train", 32).images
    assert len(found.labels) == found.even == found.searched == len(test) == 4  # of so few all are shown anyway
    assert list(found.labels) == [test.classes[label] for label in test.labels]
    assert (found.generated == loaded.transfer(found.source)).all()
    for made, nearest in zip(found.generated, found.nearest, strict=True):
        distances = (real.float() - made.float()).square().flatten(1).sum(1)
        assert (real[distances.argmin()] == nearest).all()
    x, y = loaded.encode(found.source), loaded.encode(found.generated)
    torch.testing.assert_close(found.distance, 1 - torch.cosine_similarity(x, y), atol=1e-3, rtol=0)


# Several runs


def test_several_runs_side_by_side(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(run, tmp_path / "other")
    change(other / "recipe.json", seed=7)
    page = page_of(run, other)
    assert (tmp_path / "report.html").is_file() and "2 runs compared" in page
    assert re.search(r"<code>seed</code></th><td><code>0</code></td><td><code>7</code></td>", page)
    assert [curve["run"] for curve in data_of(page)["charts"][0]["curves"]] == [0, 1]


def test_runs_with_the_same_name_are_distinguished(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "elsewhere" / "run")
    assert [record.name for record in read_records([run, other])] == [str(run), str(other)]


# What is read off the folder


def test_an_alarm_is_on_the_curves_and_in_the_list(copy):
    add_to_log(copy, {"step": 5, "seconds": 9.0, "generator.const": 1.0, "alarms": {"d-wins": "D wins: try this"}})
    page = page_of(copy)
    assert data_of(page)["runs"][0]["events"] == [{"step": 5, "seconds": 9.0, "name": "d-wins", "text": "D wins: try this"}]
    assert "<strong>d-wins</strong> D wins: try this" in page
    assert "Training has continued to step 5 since" in page


def test_an_unfinished_run_has_a_report(copy):
    for name in ("results.json", "model.safetensors", "examples.safetensors", "report.html"):
        (copy / name).unlink()
    page = page_of(copy)
    assert "Not finished: the log ends at step 4 of 4" in page and "Nothing is measured yet" in page
    (copy / "metrics.jsonl").unlink()
    shutil.rmtree(copy / "samples")
    assert "The training of g and D has not begun" in page_of(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "examples.safetensors"])
def test_a_damaged_file_is_named_on_the_page(copy, name):
    file = copy / name
    file.write_bytes(file.read_bytes()[:300])
    assert f"{file} is not a complete safetensors file" in page_of(copy)


@pytest.mark.parametrize("content", ["{", "[1]", "\\xff"])
def test_damaged_results_are_named_on_the_page_and_on_the_terminal(copy, tmp_path, capsys, content):
    file = copy / "results.json"
    file.write_text(content)
    done = domtrans_command("report", copy)
    assert done.returncode == 0 and f"{file} cannot be read" in done.stderr
    assert f"{file} cannot be read" in html.unescape((copy / "report.html").read_text())
    for words in (["verify", copy], ["pack", copy, tmp_path / "packed"]):
        code, _, error = in_process(capsys, *words)
        assert code == 2 and f"{file} cannot be read" in error and error.count("\n") == 1
    assert not (tmp_path / "packed").exists()


def test_a_file_without_examples_is_refused(copy):
    shutil.copy(copy / "model.safetensors", copy / "examples.safetensors")
    with pytest.raises(DomtransError, match="does not hold the examples of a run"):
        read_examples(copy / "examples.safetensors")


def test_a_damaged_sample_is_left_out(copy):
    (copy / "samples" / "step-000002.png").write_bytes(b"no picture")
    assert list(data_of(page_of(copy))["samples"][0]) == ["1", "3", "4"]


def test_the_command_trains_the_same_recipe_again(run):
    (said,) = re.findall(r"<pre tabindex=\"0\"><code>(OMP_NUM_THREADS=\d+ domtrans train .*?)</code>", page_of(run))
    words = shlex.split(said.replace("&#34;", '"').replace("&#39;", "'"))
    assert words[1:4] == ["domtrans", "train", "digits-dtn-paper"] and "--device" in words
    changes = words[4 : words.index("--device")]
    again = override(find_recipe("digits-dtn-paper", registry()), changes, registry())
    assert again == find_recipe(str(run), registry())


def test_the_command_names_the_file_of_a_recipe_that_is_not_installed(copy):
    change(copy / "recipe.json", name="mine")
    page = page_of(copy)
    assert f"domtrans train {copy}/recipe.json" in page and "No recipe of this name is installed here" in page


def test_the_shell_interprets_nothing_in_the_command(copy):
    change(copy / "recipe.json", name="; touch owned")
    record = read_records([copy])[0]
    record = replace(record, about={"computed_on": {"device": "cpu", "threads": "1; touch owned", "name": "`x`"}})
    words = rerun_command(record, None, registry())
    assert shlex.split(words)[:3] == ["domtrans", "train", f"{copy}/recipe.json"] and "touch" not in words


def test_parts_and_terms_that_were_changed_are_in_the_command(copy):
    base = find_recipe("digits-dtn", registry())
    changes = {"generator_losses.tid": "none", "generator_losses.smooth": "total-variation", "view": "none", "encoder": "timm"}
    (copy / "recipe.json").write_text(override(base, changes | {"description": "3"}, registry()).to_json())
    page = page_of(copy).replace("&#39;", "'")
    for words in (
        "generator_losses.tid=none",
        "generator_losses.smooth=total-variation",
        "view=null",
        "encoder=timm",
        "'description=\"3\"'",
    ):
        assert words in page.replace("&#34;", '"'), words


# Results


SKIN = {
    "attribute_balanced_accuracy": 0.5,
    "skin_balanced_accuracy": 0.75,
    "skin_chance_accuracy": 0.25,
    "eyes_balanced_accuracy": 0.625,
    "n": 4,
    "realism.n": 4,
    "fid": 2.5,
}


def measured_on_attributes(copy, **values):
    recipe = json.loads((copy / "recipe.json").read_text())
    metrics = {"agreement": {"name": "attribute-agreement"}, "realism": {"name": "avatar-realism"}}
    change(copy / "recipe.json", metrics=recipe["metrics"] | metrics)
    change_results(copy / "results.json", **(SKIN | values))


def test_declared_values_are_tiles_and_values_of_names_are_a_table(copy):
    measured_on_attributes(copy)
    page = page_of(copy)
    tiles = re.findall(r'class="label">(.*?)</p><p class="value">(.*?)</p>', page)
    assert ("attribute balanced accuracy", "50.0 %") in tiles and len(tiles) == 4  # and those of digit-accuracy
    assert not [label for label, _ in tiles if "skin" in label or "fid" in label or "images" in label]
    assert '<th scope="row">skin</th><td class="number">75.0 %</td><td class="number">25.0 %</td></tr>' in page
    assert '<th scope="row">eyes</th><td class="number">62.5 %</td><td class="number">\N{EN DASH}</td></tr>' in page
    assert "<dt>balanced accuracy</dt><dd>mean over its values of the share of faces" in page
    assert '<th scope="row">fid</th><td class="number">2.5</td><td class="meaning">Frechet distance' in page
    assert page.count('<th scope="row">test images</th>') == 1 and "realism: n" not in page


def test_runs_side_by_side_have_one_table_of_the_values_of_names(copy, tmp_path):
    measured_on_attributes(copy)
    page = page_of(copy, shutil.copytree(copy, tmp_path / "other"), out=tmp_path / "two.html")
    assert '<th scope="colgroup" colspan="2">balanced accuracy</th>' in page
    assert page.count('<th scope="row">skin</th>') == 1
    assert '<td class="number">75.0 %</td><td class="number">75.0 %</td><td class="number">25.0 %</td>' in page


def test_the_meaning_of_a_value_is_that_of_its_own_metric(copy):
    measured_on_attributes(copy, **{"realism.n": 3, "realism.fid_of_real": 1.5})
    page = page_of(copy)
    assert (
        '<th scope="row">realism: n</th><td class="number">3</td><td class="meaning">number of transferred images</td>' in page
    )
    assert '<td class="meaning">FID between real test avatars' in page


def test_a_packed_run_without_a_log_is_not_said_to_be_untrained(copy):
    (copy / "metrics.jsonl").unlink()
    page = page_of(copy)
    assert "Measured at step 4." in page and "has not begun" not in page


def test_options_that_are_4_here_and_4_0_there_do_not_differ():
    shares = [{"skin": {"light": one, "dark": 3}} for one in (4, 4.0, 5)]
    recipes = [
        find_recipe("faces-dtn", registry()).model_copy(update={"source": use("portraits", shares=one)}) for one in shares
    ]
    assert not changed_options(recipes[:2])
    assert changed_options(recipes[1:]) == [("source.shares.skin.light", ["4.0", "5"])]


# Per class


def with_results(copy, **values):
    gone = dict.fromkeys(("confusion", "per_class", "classes"))
    change_results(copy / "results.json", **(gone | values))
    return read_records([copy])[0]


def test_a_metric_s_confusion_matrix_is_on_the_page(run):
    (found,) = per_class(read_records([run])[0])
    results = json.loads((run / "results.json").read_text())
    assert found.classes == ["0", "1", "2", "3"] and found.shares == results["per_class"]
    assert 'class="confusion"' in page_of(run)


def test_a_confusion_matrix_is_drawn_with_its_worst_pairs(copy):
    record = with_results(copy, confusion=[[3, 1, 0], [0, 0, 0]], classes=["cat", "dog"])
    (found,) = per_class(record)
    assert (found.classes, found.shares, found.columns) == (["cat", "dog"], [0.75, None], ["cat", "dog", "2"])
    assert found.worst == [("cat", "dog", 0.25)]
    page = page_of(copy)
    assert "cat predicted as dog (25&nbsp;%)" in page and "--share: 0.750" in page and "no images" in page


def test_shares_without_a_matrix_and_prefixed_keys_are_shown(copy):
    (found,) = per_class(with_results(copy, **{"digits.per_class": [0.5, 0.25, 1, None]}))
    assert (found.name, list(found.classes), found.shares) == ("digits", ["0", "1", "2", "3"], [0.5, 0.25, 1.0, None])
    assert not found.confusion and "<h4>digits</h4>" in page_of(copy)


def test_a_matrix_of_an_attribute_has_its_name_and_not_the_classes_of_the_source(copy):
    (found,) = per_class(with_results(copy, facial_hair_confusion=[[995, 5], [0, 0]]))
    assert (found.name, found.classes, found.worst) == ("facial hair", ["0", "1"], [])
    (found,) = per_class(with_results(copy, facial_hair_confusion=[[1, 0], [0, 1]], facial_hair_classes=["no", "yes"]))
    assert found.classes == ["no", "yes"]


@pytest.mark.parametrize(
    "wrong", [[[1], [2]], [[1, 2], [3]], [1, 2], "text", [["a", "b"], [1, 2]], [], {"a": 1}, [[-1, 2], [1, 1]]]
)
def test_an_invalid_confusion_matrix_is_left_out(copy, wrong):
    assert per_class(with_results(copy, confusion=wrong)) == []
    page_of(copy)


# Bounds


def test_thinning_keeps_ends_and_peaks():
    values = [0.0] * 9000
    values[4321], values[77] = 5.0, -5.0
    curve = Curve(0, list(range(9000)), list(range(9000)), values)
    thin = curve.thin(100)
    assert len(thin.value) <= 102 and {5.0, -5.0} <= set(thin.value) and (thin.step[0], thin.step[-1]) == (0, 8999)
    assert thin.value[thin.step.index(4321)] == 5.0 and curve.thin(9000) is curve


def test_a_long_run_with_large_images_makes_no_large_page(copy):
    rng = np.random.default_rng(0)
    names = [f"generator.{k}" for k in range(12)]
    add_to_log(copy, *({"step": k, "seconds": k, **dict.fromkeys(names, k % 7)} for k in range(5, 5005)))
    Image.fromarray(rng.integers(0, 256, (400, 2000, 3), dtype=np.uint8)).save(copy / "samples" / "step-000005.png")
    for step in range(6, 300):
        (copy / "samples" / f"step-{step:06d}.png").hardlink_to(copy / "samples" / "step-000005.png")
    page = page_of(copy)
    steps = list(data_of(page)["samples"][0])
    assert len(page) < 8_000_000 and len(steps) <= 24 and (steps[0], steps[-1]) == ("1", "299")


def test_a_report_is_little_work(run):
    page_of(run)
    with Calls() as calls:
        page_of(run)
    assert calls.count < 100_000


# Files written by anybody


def test_text_from_files_stays_text(copy, tmp_path):
    run = copy.rename(tmp_path / "a<b>&'\"run")
    change(run / "recipe.json", name=EVIL, description=EVIL)
    change_results(run / "results.json", **{EVIL: 1.0, "source": EVIL, "health": {EVIL: EVIL}, "not_measured": {EVIL: EVIL}})
    add_to_log(run, {"step": 5, "seconds": 1.0, EVIL: 1.0, "alarms": {EVIL: EVIL}, "changed": [EVIL]})
    for page in (page_of(run), page_of(run, run, out=tmp_path / "two.html")):
        assert "<img src=x" not in page and "</script><script>d" not in page and "<b>" not in page
        assert data_of(page)["runs"][0]["events"][0]["text"] == EVIL


@pytest.mark.parametrize(
    "values",
    [{"seconds": {"a": "b"}}, {"steps": "many"}, {"measured_before_at": 3}, {"best": {"x": 1}}, {"confusion": [[1e999]]}],
)
def test_unexpected_results_give_one_sentence_or_a_page(copy, values):
    change_results(copy / "results.json", **values)
    try:
        page_of(copy)
    except DomtransError as error:
        assert "results.json has content that domtrans does not write" in str(error)


def test_an_unexpected_log_does_not_break_the_script(copy):
    add_to_log(
        copy, {"step": 5, "seconds": float("nan"), "a.b": 1.0}, {"step": 6, "seconds": 1.0, "a.b": float("inf"), "alarms": 3}
    )
    data = data_of(page_of(copy))
    assert not [chart for chart in data["charts"] if chart["name"] == "a.b"]


# Where it is written


def test_only_a_report_is_replaced(run, tmp_path):
    mine = tmp_path / "notes.html"
    mine.write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for taken in (mine, tmp_path, tmp_path / "pipe"):
        with pytest.raises(DomtransError, match="exists and is not a report of domtrans"):
            report(run, taken, registry=registry())
    with pytest.raises(DomtransError, match="there is no folder"):
        report(run, tmp_path / "deep" / "report.html", registry=registry())
    assert mine.read_text() == "mine"
    fresh = report(run, tmp_path / "fresh.html", registry=registry())
    assert report(run, fresh, registry=registry()) == fresh


def test_the_command_line(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert in_process(capsys, "report", run)[:2] == (0, f"wrote {run / 'report.html'}\n")
    assert in_process(capsys, "report", run, run, "-o", "two.html")[:2] == (0, "wrote two.html\n")
    for wrong, words in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "is not a run: it has no recipe.json")):
        code, out, err = in_process(capsys, "report", wrong)
        assert code == 2 and not out and words in err and err.count("\n") == 1
    with pytest.raises(DomtransError, match="needs at least one run"):
        report([])


def test_the_parameters_of_drawings_are_listed(tmp_path):
    run = dots.train_run(tmp_path / "run", registry=dots.registry())
    page = (run.path / "report.html").read_text()
    assert '<table class="parameters">' in page and '<th scope="row">shapeColor</th>' in page
    assert "images drawn by" in page and "dots 2, from the parameters of G(x)" in page
    examples = read_examples(run.path / "examples.safetensors")
    assert all(dots.SPACE.check(parameters) for parameters in examples.parameters)
    hostile = [{"shape": "<script>", "paper": "#fff;background:url(https://example.com)"} for _ in examples.labels]
    write_examples(run.path / "examples.safetensors", replace(examples, parameters=hostile))
    page = report(run.path, registry=dots.registry()).read_text()
    assert "&lt;script&gt;" in page and 'style="background: #fff;' not in page
    pixels = dots.train_run(tmp_path / "pixels", registry=dots.registry(), generator=use("tiny-g"))
    assert '<table class="parameters">' not in (pixels.path / "report.html").read_text()
