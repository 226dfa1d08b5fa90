"""Runs of every released format load, transfer, verify and resume. Their fixtures are never removed.

``python tests/runs/test_formats.py`` makes the fixture of the present format; it is made once, when the format changes.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import domtrans
from domtrans import Encoder, load, train, verify
from domtrans.runs.folder import FORMAT
from paths import FIXTURES
from tiny import tiny_recipe, write_bars


class SmallEncoder(Encoder):
    """A small f with a head; a fixture with a shipped one would be too large. It declares no heads, as plugins did."""

    channels = 1
    feature_size = 8

    def __init__(self, size, classes):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(64, 8))
        self.head = torch.nn.Linear(8, max(classes, 1))

    def forward(self, images):
        return self.features(images)

    def logits(self, features):
        return self.head(features)


class Small:
    @domtrans.hookimpl
    def register(self, registry):
        registry.encoder("small", SmallEncoder)


def small():
    return domtrans.load_plugins(Small()).registry


def image():
    """An image with structure, the same on every machine."""
    y, x = np.mgrid[:32, :32]
    return Image.fromarray(np.stack([8 * x, 8 * y, 4 * (x + y)], axis=2).astype(np.uint8))


def write_data(folder):
    write_bars(folder / "source.npz")
    write_bars(folder / "target.npz", channels=1, seed=1)


@pytest.fixture(params=sorted(path.name for path in FIXTURES.glob("run-*")))
def run_folder(request, tmp_path, monkeypatch):
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)  # the recipe of the fixture has relative paths
    return shutil.copytree(FIXTURES / request.param, tmp_path / "run")


def test_the_current_format_has_a_fixture():
    assert (FIXTURES / f"run-{FORMAT}" / "model.safetensors").is_file()


def test_a_run_of_this_format_loads_and_transfers_as_it_did(run_folder):
    wanted = np.asarray(Image.open(run_folder / "transferred.png")).astype(int)
    for path in (run_folder, run_folder / "best.safetensors"):
        run = load(path, device="cpu", registry=small())
        made = np.asarray(run.transfer(image())).astype(int)
        assert made.shape == (32, 32)
    assert "chosen" in run.about and run.about["plugins"]["encoder small"]
    made = np.asarray(load(run_folder, device="cpu", registry=small()).transfer(image())).astype(int)
    assert abs(made - wanted).max() <= 2


def test_a_run_of_this_format_resumes(run_folder):
    found = domtrans.find_recipe(str(run_folder), small())
    run = train(found, run_folder, overrides={"train.steps": 8}, device="cpu", resume=True, registry=small())
    assert run.results["steps"] == 8 and run.results["measured_before_at"] == [6]
    assert verify(run).differences == ()


if __name__ == "__main__":
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_data(Path())
        recipe = tiny_recipe(Path(), fit=None, train__steps=6, train__save_every=3, train__validate_every=3, metrics={})
        out = Path("run")
        made = train(domtrans.override(recipe, {"encoder": "small"}, small()), out, device="cpu", registry=small())
        made.transfer(image()).save(out / "transferred.png")
        place = FIXTURES / f"run-{FORMAT}"
        shutil.copytree(out, place, ignore=shutil.ignore_patterns("samples", "earlier", ".lock"))
