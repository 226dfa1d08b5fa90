"""Studies: rows are trained and measured over seeds, finished work is kept, and tables name the origin of every value."""

import json
import re
import shlex
import threading

import pytest

import domtrans as api
from commands import in_process
from domtrans import DomtransError, Published, Row, Stopped, Study, find_recipe, hookimpl, override
from domtrans.studies.reproduce import Reproduction
from domtrans.studies.tables import rank_correlation, summarise
from study_tables import ACCURACY, table
from tiny import tiny_recipe


class Plugin:
    """A plugin with a recipe on images of bars, and a study of it."""

    def __init__(self, recipe):
        self.tiny = recipe

    @hookimpl
    def register(self, registry):
        registry.recipe("tiny", lambda: self.tiny)
        registry.study("bars", self.bars)

    @staticmethod
    def bars(*, lr: float = 1e-3) -> Study:
        rate = {"train.generator_optimizer.lr": lr}
        return Study(
            name="bars",
            about="Bars.",
            tables=(
                table(
                    Row("plain", "As it is.", "tiny", rate, published=(Published(0.9066, "Someone 2017, table 1"),)),
                    Row("alike", "The same in other words.", "tiny", {"generator_losses.tid.weight": 15, **rate}),
                    Row("no-tid", "Without tid.", "tiny", {"generator_losses.tid": "none", **rate}),
                    published=(Published(0.5, "Another 2018", "third class", "Other method"),),
                ),
                table(
                    Row("broken", "Cannot be trained.", "tiny", {"target.path": "nowhere.npz"}),
                    Row("plain", "As it is.", "tiny", rate, measured={"metrics.digits.of": "original"}),
                    title="Other",
                    columns=(ACCURACY,),
                ),
            ),
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return api.load_plugins(Plugin(tiny_recipe(tmp_path_factory.mktemp("bars")))).registry


def reproduce(registry, out, **options):
    return api.reproduce("bars", out, registry=registry, device="cpu", **options)


def row_of(data, name, title="Main"):
    return next(row for one in data["tables"] if one["title"] == title for row in one["rows"] if row["name"] == name)


# Running one


@pytest.fixture(scope="module")
def finished(registry, tmp_path_factory):
    """A study after two seeds of all rows, one of which cannot be trained."""
    out = tmp_path_factory.mktemp("study") / "bars"
    return out, reproduce(registry, out, seeds=2)


def test_every_row_is_measured_over_every_seed(finished):
    out, data = finished
    for name in ("plain", "no-tid"):
        results = [json.loads((out / name / f"seed-{seed}" / "results.json").read_text()) for seed in (0, 1)]
        found = row_of(data, name)
        assert found["seeds"] == [0, 1] and found["supervision"] == "none of the target"
        assert found["figures"]["accuracy"] == summarise({seed: one["accuracy"] for seed, one in enumerate(results)})
        assert results[0]["seed"] == 0 and results[1]["seed"] == 1
        times = {seed: one["seconds"]["training"] for seed, one in enumerate(results)}
        assert found["training_seconds"] == summarise(times)
        assert {"third class"} < set(found["figures"]) and "arrays" in found["data"][0]


def test_rows_with_the_same_recipe_share_their_runs(finished):
    out, data = finished
    assert not (out / "alike").exists()
    assert row_of(data, "alike")["runs"] == "plain" and row_of(data, "alike")["figures"] == row_of(data, "plain")["figures"]


def test_a_row_can_be_measured_differently_on_the_same_runs(finished):
    found = row_of(finished[1], "plain", "Other")
    assert found["training_seconds"] == row_of(finished[1], "plain")["training_seconds"]
    assert found["runs"] == "plain" and "metrics.digits.of=original" in found["measured_by"][0]


def test_a_row_that_fails_is_noted_and_does_not_stop_the_others(finished):
    broken = row_of(finished[1], "broken", "Other")
    assert "there is no file nowhere.npz" in broken["failed"]["0"] and not broken["figures"]


def test_the_page_has_values_sources_data_and_commands(finished):
    out, data = finished
    page = (out / "table.md").read_text()
    assert json.loads((out / "table.json").read_text()) == data
    for words in (
        "90.66 % (Someone 2017, table 1)",
        "Other method",
        "third class 50.00 % (Another 2018)",
        "±",
        "arrays ",
        "time of g and D",
    ):
        assert words in page
    assert "Seed 0 failed: there is no file nowhere.npz" in page
    assert shlex.split(data["command"])[:5] == ["domtrans", "reproduce", "bars", "--seeds", "2"]
    for file in re.findall(r"\((\S+\.png)\)", page):
        assert (out / file).read_bytes().startswith(b"\x89PNG")
    assert {f"plain/{name}.png" for name in ("grid", "losses", "confusion")} <= set(re.findall(r"\((\S+\.png)\)", page))


def test_the_command_of_a_row_is_what_was_trained(finished, registry):
    out, data = finished
    for name in ("plain", "no-tid"):
        words = shlex.split(row_of(data, name)["command"].replace("SEED", "1"))
        assert words[:3] == ["domtrans", "train", "tiny"] and words[-4:] == ["--seed", "1", "--out", str(out / name / "seed-1")]
        found = override(find_recipe("tiny", registry), [*words[3:-4], "seed=1"], registry)
        assert found == find_recipe(str(out / name / "seed-1"), registry)


def test_finished_work_is_kept(finished, registry):
    out, data = finished
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    again = reproduce(registry, out, seeds=2, only=["plain", "no-tid"])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == files
    assert row_of(again, "plain") == row_of(data, "plain") and row_of(again, "no-tid") == row_of(data, "no-tid")


def test_results_of_an_earlier_model_do_not_count(finished, registry, tmp_path):
    study = Reproduction("bars", tmp_path / "out", registry=registry, device="cpu", only=["no-tid"], seeds=1)
    (job,) = study.jobs
    study.run(job)
    assert study.is_done(job)
    noted = tmp_path / "out" / "no-tid" / "seed-0" / "measured.json"
    noted.write_text(noted.read_text().replace('"model": "', '"model": "0'))
    assert not study.is_done(job) and not row_of(study.write(), "no-tid")["figures"]
    study.run(job)
    assert study.is_done(job) and row_of(study.write(), "no-tid")["figures"]


def test_the_label_free_score_is_ranked_over_the_runs(finished):
    out, data = finished
    scores = [
        json.loads((out / name / f"seed-{seed}" / "measured.json").read_text())["score"]
        for name in ("plain", "no-tid")
        for seed in (0, 1)
    ]
    truth = [row_of(data, name)["figures"]["accuracy"]["values"][str(seed)] for name in ("plain", "no-tid") for seed in (0, 1)]
    found = data["label_free_score"]
    assert found["runs"] == 4 and found["spearman"] == rank_correlation(list(zip(scores, truth, strict=True)))


def test_more_seeds_are_added_to_existing_ones(finished, registry):
    assert row_of(reproduce(registry, finished[0], seeds=3, only=["no-tid"]), "no-tid")["seeds"] == [0, 1, 2]


def test_a_folder_of_another_study_is_left_alone(finished, registry, tmp_path):
    out, _ = finished
    before = (out / "table.json").read_bytes()
    for options in ({"options": {"lr": 2e-3}}, {"changes": ["train.steps=3"]}):
        with pytest.raises(DomtransError, match="with other options"):
            reproduce(registry, out, **options)
    assert (out / "table.json").read_bytes() == before
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DomtransError, match="is not a study"):
        reproduce(registry, tmp_path)


def test_changes_apply_to_every_row(registry, tmp_path):
    data = reproduce(registry, tmp_path / "out", seeds=1, only=["no-tid"], changes=["train.steps=2"])
    assert json.loads((tmp_path / "out/no-tid/seed-0/results.json").read_text())["steps"] == 2
    assert "train.steps=2" in shlex.split(row_of(data, "no-tid")["command"])
    assert {"train.steps=2", "--only", "no-tid"} <= set(shlex.split(data["command"])) and "plain" not in data["command"]


def test_a_stopped_study_continues_where_it_was(registry, tmp_path):
    stop = threading.Event()

    def after_two(progress):
        if progress.phase == "train" and progress.step == 2:
            stop.set()

    study = Reproduction("bars", tmp_path / "out", registry=registry, device="cpu", only=["no-tid"], seeds=1)
    with pytest.raises(Stopped):
        study.run(study.jobs[0], listeners=(after_two,), stop=stop)
    notes = []
    out = tmp_path / "out"
    data = reproduce(registry, out, only=["no-tid"], seeds=1, listeners=lambda progress: notes.append(progress.note))
    assert notes[0] == "no-tid, seed 0: run 1 of 1"
    log = (tmp_path / "out/no-tid/seed-0/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4] and row_of(data, "no-tid")["figures"]


def test_measuring_can_be_stopped_and_trained_runs_are_kept(registry, tmp_path):
    stop = threading.Event()

    def when_measuring(progress):
        if progress.phase == "evaluate" and (tmp_path / "out/no-tid/seed-0/measured.json").exists():
            stop.set()

    study = Reproduction("bars", tmp_path / "out", registry=registry, device="cpu", only=["no-tid"], seeds=1)
    with pytest.raises(Stopped, match="during evaluate"):
        study.run(study.jobs[0], listeners=(when_measuring,), stop=stop)
    assert set(row_of(study.write(), "no-tid")["figures"]) == {"accuracy"}
    assert set(row_of(reproduce(registry, tmp_path / "out", only=["no-tid"]), "no-tid")["figures"]) == {
        "accuracy",
        "third class",
    }


@pytest.mark.parametrize(
    ("options", "fault"),
    [({"seeds": 0}, "at least one seed"), ({"only": ["x"]}, "no row 'x'"), ({"options": {"quick": True}}, "no option 'quick'")],
)
def test_wrong_arguments_are_refused_before_anything_is_written(registry, tmp_path, options, fault):
    with pytest.raises(DomtransError, match=fault):
        reproduce(registry, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# The command


def test_reproduce_digits_quickly_end_to_end(capsys, tmp_path):
    out = tmp_path / "study"
    rows = ("--only", "best", "--only", "no-const")
    code, output, progress = in_process(capsys, "reproduce", "digits", "--quick", *rows, "--out", out)
    assert code == 0, progress
    assert "best, seed 0: run 1 of 2" in progress and "no-const, seed 0: run 2 of 2; about" in progress
    for words in (
        "Taigman et al. 2017, table 1",
        "Hua, Rempe, Zhang, table II",
        "Unsupervised domain adaptation",
        "GenToAdapt",
    ):
        assert words in output
    data = json.loads((out / "table.json").read_text())
    best = row_of(data, "best", "Transfer")
    assert set(best["figures"]) == {
        "accuracy", "training images", "f consistency", "FID", "KID", "diversity", "class diversity"
    }  # fmt: skip
    assert set(row_of(data, "best", "Unsupervised domain adaptation")["figures"]) == {"train split", "test split"}
    assert "street-digits (rendered, not SVHN), test split" in best["data"][0]
    page = (out / "table.md").read_text()
    assert "generator_losses.const=none" in page and "This is a smoke test" in page
    assert {path.name for path in (out / "best").iterdir()} == {"seed-0", "grid.png", "losses.png", "confusion.png"}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["nothing"], "there is no study 'nothing'"),
        (["digits", "--only", "besst"], "did you mean 'best'"),
        (["digits", "--data-dir", "/nowhere"], "there is no SVHN in /nowhere"),
        (["digits", "train.stps=1"], "there is no option 'train.stps'"),
    ],
)
def test_bad_input_is_one_sentence(capsys, tmp_path, words, fault):
    code, out, err = in_process(capsys, "reproduce", *words, "--out", tmp_path / "out")
    assert code == 2 and out == "" and fault in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_stopped_command_says_how_to_continue(capsys, monkeypatch, tmp_path):
    def stopped(self, job, **_):
        raise Stopped("stopped at step 3 of 30")

    monkeypatch.setattr(Reproduction, "run", stopped)
    code, out, err = in_process(capsys, "reproduce", "digits", "--quick", "--out", tmp_path / "out")
    assert code == 130 and out == "" and "stopped at step 3 of 30" in err and "continue with: domtrans" in err


def test_a_failed_row_is_named_and_sets_the_exit_code(capsys, monkeypatch, tmp_path):
    def fails(self, job, **_):
        self.failed[job.name] = {job.seed: "the disk is full"}

    monkeypatch.setattr(Reproduction, "run", fails)
    code, out, err = in_process(capsys, "reproduce", "digits", "--quick", "--only", "no-d", "--json", "--out", tmp_path / "out")
    assert code == 1 and "no-d, seed 0 failed: the disk is full" in err
    assert row_of(json.loads(out), "no-d", "Ablations")["failed"] == {"0": "the disk is full"}
