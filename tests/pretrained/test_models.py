"""The models that come with domtrans: they are listed, accepted wherever a run is, and are what their cards say."""

import hashlib
import json
import zlib

import pytest
import torch
from PIL import Image

from commands import in_process
from domtrans import DomtransError, find_recipe, list_models, load
from domtrans.pretrained import models
from domtrans.pretrained.locate import local_path
from tiny import bars, registry

MAX_BYTES = 12_000_000
PIXELS = torch.from_numpy(bars(3)[0]).permute(0, 3, 1, 2).contiguous()
SHIPPED = [model.name for model in list_models()]


@pytest.mark.parametrize(
    "words",
    [["export", "models:", "a.onnx"], ["report", "models:"], ["compare", "models: "], ["train", "models:"]],
    ids=" ".join,
)
def test_a_missing_name_is_said_to_be_missing(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    code, _, error = in_process(capsys, *words)
    assert code == 2 and "the name of a trained model is missing after models:" in error
    assert all(name in error for name in SHIPPED) and error.count("\n") == 1


def test_digits_come_with_domtrans_and_all_models_are_small():
    assert "models:digits-dtn" in SHIPPED
    in_the_wheel = (len(zlib.compress(file.read_bytes())) for file in models.FOLDER.rglob("*") if file.is_file())
    assert sum(in_the_wheel) <= MAX_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_is_complete_and_its_licence_is_stated(name):
    folder = models.model_folder(name)
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert {"model.safetensors", "config.json", "README.md", "samples.png"} <= sums.keys()
    for file, digest in sums.items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest, f"{file} was changed after it was packed"
    assert json.loads((folder / "config.json").read_text())["license"] not in ("unknown", "other")
    run = load(name, device="cpu", registry=registry())
    assert run.about["stored_as"] == "float16" and not run.about["git"]["dirty"], "made from files that no commit holds"
    texts = [(folder / file).read_text() for file in sums if file.endswith((".json", ".md"))]
    assert not any(part in text for text in texts for part in ("/tmp/", "/home/", "/root/")), "a path of one machine"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_of_a_model_is_todays(name):
    assert find_recipe(name, registry()).resolve(registry()).name == name.removeprefix(models.PREFIX)


def test_the_command_lists_them(capsys):
    code, out, _ = in_process(capsys, "models")
    assert code == 0 and all(name in out for name in SHIPPED) and "transfer accuracy 9" in out
    code, out, _ = in_process(capsys, "models", "--json")
    assert [model["name"] for model in json.loads(out)] == SHIPPED


def test_the_commands_take_a_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(bars(1)[0][0]).save("photo.png")
    code, _, err = in_process(capsys, "transfer", "models:digits-dtn", "photo.png", "out.png", "--device", "cpu")
    assert code == 0, err
    with Image.open("out.png") as image:
        assert image.size == (32, 32)
    code, out, _ = in_process(capsys, "show", "models:digits-dtn")
    assert code == 0 and json.loads(out)["name"] == "digits-dtn"
    code, out, err = in_process(capsys, "report", "models:digits-dtn")
    assert code == 0 and (tmp_path / "report.html").is_file(), "nothing is written where domtrans is installed"


def test_an_unknown_model_is_refused_with_the_names_of_the_others(capsys):
    for call in (lambda: load("models:digit"), lambda: find_recipe("models:digit", registry())):
        with pytest.raises(DomtransError, match=r"no trained model models:digit comes with domtrans .*models:digits-dtn"):
            call()


def test_other_names_are_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("runs/a") == local_path(local_path("runs/a")) and local_path("~/a") == tmp_path / "a"
    with pytest.raises(DomtransError, match="is not the address of a model; write hf://OWNER/NAME"):
        local_path("hf://digits")


def test_the_model_loads_without_its_training_data(monkeypatch):
    run = load("models:digits-dtn", device="cpu", registry=registry())
    made = run.transfer(PIXELS)
    assert made.shape == (3, 1, 32, 32) and made.dtype == torch.uint8
