"""Runs at an address are loaded like local ones, and downloaded once."""

import pytest
import torch
from PIL import Image

from commands import in_process
from domtrans import DomtransError, load
from file_server import serve
from tiny import registry

PIXELS = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


@pytest.fixture
def server(trained, tmp_path, monkeypatch):
    """A server with a finished run."""
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    with serve(trained[0].parent) as running:
        yield running


def test_a_run_is_loaded_and_downloaded_once(server, trained):
    local = load(trained[0], device="cpu", registry=registry())
    for _ in range(2):
        remote = load(f"{server.address}/{trained[0].name}", device="cpu", registry=registry())
        assert torch.equal(remote.transfer(PIXELS), local.transfer(PIXELS)) and remote.results == local.results
    size = local.file.stat().st_size
    assert server.sent[f"/{trained[0].name}/model.safetensors"] == size
    file = load(f"{server.address}/{trained[0].name}/model.safetensors", device="cpu", registry=registry())
    assert torch.equal(file.transfer(PIXELS), local.transfer(PIXELS))


def test_the_commands_take_an_address(server, trained, tmp_path, capsys):
    address = f"{server.address}/{trained[0].name}"
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "picture.png")
    code, _, error = in_process(capsys, "transfer", address, tmp_path / "picture.png", tmp_path / "made.png", "--device", "cpu")
    assert code == 0 and (tmp_path / "made.png").is_file(), error
    code, out, error = in_process(capsys, "show", address)
    assert code == 0 and "digits-dtn-paper" in out, error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{address}/nothing", r"there is no run at http://.*/nothing"),
        ("{address}/nothing.safetensors", r"there is no file or folder http://.*/nothing\.safetensors"),
        ("https://me:hunter2@host/run", "holds a password"),
    ],
)
def test_what_is_no_run_is_one_sentence(server, name, message):
    with pytest.raises(DomtransError, match=message) as error:
        load(name.format(address=server.address), registry=registry())
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("address", ["s3://bucket/made.png", "s3://"])
@pytest.mark.parametrize(
    "words",
    [
        ["transfer", "no-such-run", "no-such.png"],
        ["transfer", "no-such-run", "no-such.png", "made.png", "--sheet"],
        ["transfer", "no-such-run", "no-such.png", "made.png", "--parameters"],
        ["render", "no-such.json"],
        ["export", "no-such-run"],
        ["pack", "no-such-run"],
        ["generate", "no-such-run", "--out"],
        ["report", "no-such-run", "-o"],
        ["compare", "no-such-run", "-o"],
        ["reproduce", "digits", "--out"],
        ["sweep", "digits-dtn", "train.steps=1,2", "--out"],
        ["bench", "--curves"],
        ["make", "avatars"],
        ["inspect", "no-such-folder", "--sheet"],
        ["new-plugin", "squares", "--in"],
    ],
    ids=" ".join,
)
def test_what_is_no_run_is_not_written_to_an_address(tmp_path, monkeypatch, capsys, words, address):
    monkeypatch.chdir(tmp_path)
    code, _, error = in_process(capsys, *words, address)
    assert code == 2 and f"{address} is an address, and" in error and "must be local" in error, error
    assert error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_beginning_of_an_address_is_no_run_folder(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, error = in_process(capsys, "train", "digits-dtn-paper", *data, "--out", "s3://")
    assert code == 2 and "s3:// is only the beginning of an address" in error and not list(tmp_path.iterdir())


def test_a_refused_output_shows_no_secret(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, error = in_process(capsys, "report", "run", "-o", "https://me:hunter2@host/page.html?token=hunter2")
    assert code == 2 and "https://host/page.html is an address" in error and "hunter2" not in error
