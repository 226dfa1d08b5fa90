"""A model hub: a run is uploaded, and loaded by its address, with huggingface_hub's own client and a hub on this machine."""

import subprocess
import sys

import pytest
import torch
from PIL import Image

import domtrans.nn
from domtrans import DomtransError, load, pack, push_to_hub
from fake_hub import fake_hub
from paths import ROOT
from tiny import bars, registry, tiny_recipe
from tiny_runs import go

pytest.importorskip("huggingface_hub", reason="the extra domtrans[hub] is not installed")

TOKEN = "hf_SecretOfTheUser"
PROGRAM = """
import sys
from pathlib import Path
import domtrans
from domtrans.cli.app import main

folder = Path(sys.argv[1])
run = domtrans.load(folder, device="cpu")
try:
    domtrans.push_to_hub(run, "owner/digits")
except domtrans.DomtransError as error:
    print("1", error)
first = domtrans.push_to_hub(run, "owner/digits", licence="mit", allow_paths=True)
second = domtrans.push_to_hub(folder, "owner/digits", branch="small", fp16=True, private=True, allow_paths=True)
print("2", first.address, second.address)
for name in (first.address, "hf://owner/digits", "hf://owner/digits@small", "owner/digits"):
    print("3", name, domtrans.load(name, device="cpu").about.get("stored_as"))
for name in ("hf://owner/nothing", "hf://owner/digits@gone"):
    try:
        domtrans.load(name)
    except domtrans.DomtransError as error:
        print("4", error)
try:
    main(["transfer", "hf://owner/digits", "photo.png", "out.png", "--device", "cpu"])
except SystemExit as done:
    print("5", done.code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("runs")
    return go(tiny_recipe(root, metrics__digits="none"), root / "run").path


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    return pack(load(folder, device="cpu", registry=registry()), tmp_path_factory.mktemp("packed") / "digits").folder


def client(*words, hub, cwd, token=TOKEN):
    """Run Python in a process whose hub is that one: huggingface_hub reads the address when it is imported."""
    places = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cwd / "hf"), "DOMTRANS_CACHE": str(cwd / "cache"), "PATH": ""}
    settings = places | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1"} | ({"HF_TOKEN": token} if token else {})
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, check=False)


def test_a_run_is_uploaded_and_loaded_by_its_address(folder, tmp_path):
    Image.fromarray(bars(1)[0][0]).save(tmp_path / "photo.png")
    with fake_hub() as hub:
        done = client("-c", PROGRAM, folder, hub=hub, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = {number: [line[2:] for line in done.stdout.splitlines() if line.startswith(f"{number} ")] for number in "12345"}
    assert "contain paths of this machine" in said["1"][0] and "--allow-paths" in said["1"][0]
    first, second = said["2"][0].split()
    assert first.startswith("hf://owner/digits@") and second.startswith("hf://owner/digits@") and first != second
    assert said["3"] == [
        f"{first} None", "hf://owner/digits None", "hf://owner/digits@small float16", "owner/digits None"
    ]  # fmt: skip
    assert all("could not be downloaded from the model hub" in line for line in said["4"]) and len(said["4"]) == 2
    assert said["5"] == ["0"]
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (32, 32)
    assert "README.md" in hub.commits["owner/digits", "main"] and set(hub.downloaded) == {
        "SHA256SUMS", "model.safetensors", "discriminator.safetensors", "config.json", "recipe.json", "results.json"
    }  # fmt: skip
    assert hub.tokens <= {TOKEN, ""} and TOKEN in hub.tokens
    assert TOKEN not in done.stdout + done.stderr
    files = (file for file in (*folder.rglob("*"), *(tmp_path / "hf").rglob("*")) if file.is_file())
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]


def test_without_a_token_the_hub_refuses_in_one_sentence(folder, tmp_path):
    command = ("-m", "domtrans", "push", folder, "owner/digits", "--allow-paths")
    with fake_hub() as hub:
        done = client(*command, hub=hub, cwd=tmp_path, token="")
    assert done.returncode == 2 and "could not be uploaded to owner/digits" in done.stderr, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["digits", "owner/digits@v1", "hf://owner/digits", "a/b/c", ""])
def test_other_names_of_repositories_are_refused(folder, name):
    with pytest.raises(DomtransError, match=r"is not the name of a repository; write OWNER/NAME"):
        push_to_hub(folder, name)


# Plain modules


def test_the_networks_alone_compute_what_the_run_computes(folder, packed):
    images = torch.from_numpy(bars(3)[0]).permute(0, 3, 1, 2) / 127.5 - 1
    wanted = load(folder, device="cpu", registry=registry()).transfer(images)
    f, g = (call(packed, registry=registry()) for call in (domtrans.nn.load_encoder, domtrans.nn.load_generator))
    assert isinstance(f, torch.nn.Module) and isinstance(g, torch.nn.Module) and not f.training and not g.training
    with torch.no_grad():
        assert torch.equal(g(f(images)), wanted)
        assert torch.equal(domtrans.nn.load_transfer(packed, registry=registry())(images), wanted)


def test_a_packed_run_suits_the_mixin_of_the_hub(packed, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import hub_mixin

    hub_mixin.main(str(packed))
    assert "loaded" in capsys.readouterr().out
    network = hub_mixin.DomainTransfer.from_pretrained(str(packed)).eval()
    images = torch.from_numpy(bars(2)[0]).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        torch.testing.assert_close(network(images), domtrans.nn.load_transfer(packed, registry=registry())(images))
