"""The blind comparison: the page, its order of left and right, and the count of its answers."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from commands import in_process
from domtrans import DomtransError, compare, count_answers
from domtrans.reporting.comparison import ComparisonStudy
from domtrans.runs.examples import Examples, write_examples

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def make_run(folder, shade, labels=("a", "b", "a", "c"), pictures=0):
    """A run folder with examples whose transfers have one colour, and one example that is not evenly spread."""
    folder.mkdir()
    count = len(labels)
    source = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8) + pictures
    made = (torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1) + shade).expand(-1, 3, 8, 8)
    examples = Examples(source, made, made, torch.zeros(count), list(labels), even=count - 1, searched=count)
    write_examples(folder / "examples.safetensors", examples)
    return folder


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / "one", 50), make_run(tmp_path / "two", 150)]


def page_data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


def shade_of(url):
    """The value of the pixels of a data URL."""
    return int(np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))[0, 0, 0])


def answers(path, data, choose):
    """Save what the page saves after the choice of a function for every trial."""
    path.write_text(json.dumps({"study": data["study"], "answers": [choose(trial) for trial in data["trials"]]}))
    return path


def test_two_runs_are_compared_on_their_evenly_spread_examples(runs, tmp_path):
    data = page_data(compare(runs, tmp_path / "page.html", seed=1))
    assert data["study"] == {"runs": ["one", "two"], "seed": 1, "trials": 3}
    for number, trial in enumerate(data["trials"]):
        assert shade_of(trial["picture"]) == number
        assert {shade_of(trial["left"]), shade_of(trial["right"])} == {number + 50, number + 150}


def test_answers_are_counted_for_the_right_run_whatever_the_order(runs, tmp_path):
    files = []
    for seed in range(3):
        data = page_data(compare(runs, tmp_path / "page.html", seed=seed))
        first = lambda trial: "left" if shade_of(trial["left"]) < shade_of(trial["right"]) else "right"  # noqa: E731
        files.append(answers(tmp_path / f"{seed}.json", data, first))
    tally = count_answers(files)
    assert (tally.runs, tally.people, tally.answers, tally.first, tally.skipped) == (("one", "two"), 3, 9, 9, 0)
    assert tally.low == pytest.approx(0.025 ** (1 / 9)) and tally.high == 1, "Clopper and Pearson, by hand"
    assert tally.p_value == pytest.approx(2 / 2**9)


def test_with_one_run_the_other_picture_has_another_label(runs, tmp_path):
    data = page_data(compare(runs[0], tmp_path / "page.html"))
    labels = {50: "a", 51: "b", 52: "a"}
    right = []
    for number, trial in enumerate(data["trials"]):
        shades = {side: shade_of(trial[side]) for side in ("left", "right")}
        (other,) = set(shades.values()) - {number + 50}
        assert labels[other] != labels[number + 50]
        right.append("left" if shades["left"] == number + 50 else "right")
    file = tmp_path / "answers.json"
    file.write_text(
        json.dumps({"study": data["study"], "answers": [right[0], None, "left" if right[2] == "right" else "right"]})
    )
    tally = count_answers(file)
    assert (tally.answers, tally.first, tally.skipped) == (2, 1, 1)
    assert str(tally).startswith(
        "the right transfer was chosen in 1 of 2 answers of 1 person: 50.0 % (95 % interval 1.3 % to 98.7 %"
    )


def test_each_side_has_half_of_the_first_runs_transfers():
    for seed in range(5):
        study = ComparisonStudy(("a", "b"), seed, 16)
        assert [study.side(number) for number in range(16)].count("left") == 8
    sides = {tuple(ComparisonStudy(("a", "b"), seed, 16).side(number) for number in range(16)) for seed in range(5)}
    assert len(sides) == 5


def test_the_page_loads_nothing_and_escapes_text(runs, tmp_path):
    page = compare(runs, tmp_path / "page.html", question=EVIL).read_text(encoding="utf-8")
    assert EVIL not in page and "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)


def test_another_file_is_not_overwritten(runs, tmp_path):
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(DomtransError, match=r"mine\.html exists and is not a comparison of domtrans"):
        compare(runs, tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "mine"
    compare(runs, tmp_path / "page.html")
    compare(runs, tmp_path / "page.html", seed=1)


def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path):
    (tmp_path / "young").mkdir()
    for folders, words in (
        ([*runs, runs[0]], "needs one run or two, not 3"),
        ([tmp_path / "nowhere"], "there is no run in"),
        ([tmp_path / "young"], "young has no examples to compare; a run gets them when its training ends"),
        ([runs[0], make_run(tmp_path / "other", 9, pictures=7)], "examples of different test pictures"),
        ([make_run(tmp_path / "alone", 9, labels=("a", "a", "a"))], "all of one class; compare it with a second run"),
    ):
        with pytest.raises(DomtransError, match=words):
            compare(folders, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"study": {}}',
        "[" * 5000,
        '{"study": {"runs": ["a"], "seed": 0, "trials": 1}, "answers": ["middle"]}',
        '{"study": {"runs": ["a"], "seed": 0, "trials": 2}, "answers": ["left"]}',
    ],
)
def test_a_damaged_file_of_answers_is_refused(tmp_path, content):
    (tmp_path / "answers.json").write_text(content)
    with pytest.raises(DomtransError, match=r"answers\.json is not a file of answers"):
        count_answers(tmp_path / "answers.json")


def test_answers_that_do_not_belong_together_are_refused(runs, tmp_path):
    data = page_data(compare(runs, tmp_path / "page.html"))
    one = answers(tmp_path / "one.json", data, lambda trial: "left")
    none = answers(tmp_path / "none.json", data, lambda trial: None)
    other = answers(tmp_path / "other.json", page_data(compare(runs[::-1], tmp_path / "page.html")), lambda trial: "left")
    for files, words in (([one, other], "count the answers about the same runs"), ([none], "nobody chose"), ([], "no answers")):
        with pytest.raises(DomtransError, match=words):
            count_answers(files)


def test_the_command_writes_the_page_and_counts(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert in_process(capsys, "compare", *runs, "-o", page, "--question", "Who?")[:2] == (0, f"wrote {page}\n")
    file = answers(tmp_path / "answers.json", page_data(page), lambda trial: "left")
    code, output, _ = in_process(capsys, "compare", "--count", file, "--json")
    assert code == 0 and json.loads(output)["answers"] == 3
    code, output, _ = in_process(capsys, "compare", "--count", file)
    assert code == 0 and "one was chosen over two in" in output
    for words in (["--count", file, "--question", "Who?"], [*runs, "--json"]):
        code, _, error = in_process(capsys, "compare", *words)
        assert code == 2 and "--count" in error


def test_a_person_answers_in_the_browser(runs, tmp_path, visit):
    page = visit(compare(runs, tmp_path / "page.html", question="Who is it?").as_uri())
    assert page.locator("h1").inner_text() == "Who is it?"
    page.locator("#left").click()
    page.keyboard.press("ArrowRight")
    page.locator("#back").click()
    page.locator("#skip").click()
    page.keyboard.press("ArrowRight")
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = json.loads(download.value.path().read_text())
    assert saved["answers"] == ["left", None, "right"] and saved["study"]["runs"] == ["one", "two"]


@pytest.mark.parametrize("question", ["", "  ", "\n"])
def test_an_empty_question_is_refused(runs, tmp_path, monkeypatch, capsys, question):
    monkeypatch.chdir(tmp_path)
    code, _, error = in_process(capsys, "compare", *runs, "--question", question)
    assert code == 2 and "the question of a comparison is empty" in error and not (tmp_path / "compare.html").exists()
