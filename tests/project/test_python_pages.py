"""The snippets of the pages on Python run one after the other, as a reader would type them; trainings are tiny."""

import re
import shutil
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import domtrans
from domtrans import Phase, override
from pages import blocks
from paths import DOCS
from tiny import bars, registry, tiny_recipe

HOW_TO = DOCS / "how-to"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the snippets read; runs of a page stay for the next one."""
    folder = tmp_path_factory.mktemp("reader")
    photos, labels = bars(32)
    for name, array in (("photos", photos), ("labels", labels), ("drawings", bars(32, channels=1, seed=1)[0])):
        np.save(folder / f"{name}.npy", array)
    Image.fromarray(photos[0]).save(folder / "photo.jpg")
    return folder


@pytest.fixture
def follow(folder, monkeypatch):
    """Run the snippets of a page; returns the names that they define."""

    def train(recipe, *arguments, overrides=(), **options):
        if recipe == "digits-dtn":
            recipe = override(tiny_recipe(folder, recipe), overrides, registry()) if overrides else tiny_recipe(folder, recipe)
            overrides = {"train.steps": 4}
        return real_train(recipe, *arguments, overrides=overrides, registry=registry(), **options)

    def run(page):
        names = {}
        for code in blocks(HOW_TO / page, "python"):
            exec(compile(code.replace("batch_size=64", "batch_size=4"), page, "exec"), names)
        return names

    real_train = domtrans.train
    monkeypatch.setattr(domtrans, "train", train)
    monkeypatch.chdir(folder)
    return run


def test_the_page_on_python_does_what_it_says(follow, folder, capsys):
    names = follow("python.md")
    said = capsys.readouterr().out
    assert "stopped at step 2" in said and "target: " in said, "the listener printed notes, and stopped halfway"
    assert names["outputs"].shape == (4, 1, 32, 32) and names["drawing"].size == (32, 32)
    assert names["results"]["f_consistency"] >= 0
    assert {path.name for path in (folder / "runs").iterdir()} == {"digits", "mine", "halfway"}


def test_the_page_on_fine_tuning_trains_copies_of_f_and_g(follow, folder):
    if not (folder / "runs" / "digits").is_dir():
        follow("python.md")
    shutil.copytree(folder / "runs" / "digits", folder / "runs" / "digits-dtn")
    names = follow("fine-tune.md")
    f, g, run = names["f"], names["g"], names["run"]
    for changed, kept in ((f, run.encoder.encoder), (g, run.generator)):
        assert any((a != b).any() for a, b in zip(changed.parameters(), kept.parameters(), strict=True))
    new_f = names["new_run"].encoder.encoder.state_dict()
    assert all((new_f[name] == value).all() for name, value in f.state_dict().items())
    assert names["pixels"].shape == (8, 1, 32, 32)


def test_the_page_on_python_lists_every_phase():
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (HOW_TO / "python.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(listed))) == set(get_args(Phase))
