"""The domains ``webdataset`` and ``arrays`` at an address: the same images as from local files, downloaded once."""

import json
import shutil

import numpy as np
import pytest

from commands import in_process
from domtrans import DomtransError, override, use
from domtrans.data.domains import load_domain
from file_server import serve
from tiny import bars, registry, tiny_recipe, write_bars
from tiny_runs import go
from tiny_shards import write_shards

fsspec = pytest.importorskip("fsspec")
IMAGES, LABELS = bars(16)


def load(domain, path, split="train", **options):
    return load_domain(registry(), use(domain, path=str(path), **options), split, 32)


@pytest.fixture
def server(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as running:
        yield running


@pytest.fixture
def shards(server):
    """Shards on the server; returns their local folder."""
    write_shards(server.folder / "shards", IMAGES, LABELS)
    (server.folder / "shards" / "vocabulary.json").write_text('{"parity": ["odd", "even"]}')
    return server.folder / "shards"


def copy_to_memory(folder, address):
    files = fsspec.filesystem("memory")
    for file in folder.iterdir():
        files.pipe_file(f"{address.removeprefix('memory:/')}/{file.name}", file.read_bytes())
    return address


@pytest.mark.parametrize("pattern", ["", "/{000000..000001}.tar"])
@pytest.mark.parametrize("memory", ["yes", "no"])
def test_remote_shards_hold_the_same_images(shards, server, pattern, memory):
    local = load("webdataset", f"{shards}{pattern}", holdout=0.25, memory=memory)
    remote = load("webdataset", f"{server.address}/shards{pattern}", holdout=0.25, memory=memory)
    assert np.array_equal(remote.images, local.images) and remote.labels.tolist() == local.labels.tolist()
    assert remote.attributes["parity"].values == ("odd", "even") and remote.classes == local.classes
    assert remote.fingerprint() == local.fingerprint()


def test_shards_and_arrays_are_downloaded_once(shards, server, tmp_path):
    write_bars(server.folder / "a.npz", 16)
    for _ in range(2):
        for split in ("train", "test"):
            load("webdataset", f"{server.address}/shards", split, holdout=0.25, memory="no").images  # noqa: B018 - decodes
            load("arrays", f"{server.address}/a.npz", split, holdout=0.25)
    sizes = {f"/shards/{file.name}": file.stat().st_size for file in shards.iterdir()} | {
        "/a.npz": (server.folder / "a.npz").stat().st_size
    }
    assert {path: count for path, count in server.sent.items() if path in sizes} == sizes


def test_splits_in_a_remote_folder_are_found(server, shards):
    for number, split in enumerate(("train", "test")):
        (server.folder / "splits" / split).mkdir(parents=True)
        shutil.copy(shards / f"00000{number}.tar", server.folder / "splits" / split / "0.tar")
    address = f"{server.address}/splits"
    assert [len(load("webdataset", address, split)) for split in ("train", "test")] == [8, 8]


def test_a_run_on_remote_shards_is_not_resumed_on_other_shards(tmp_path, shards):
    address = copy_to_memory(shards, "memory://a-run/shards")
    source = {"name": "webdataset", "path": address, "holdout": 0.25, "memory": "no"}
    run = go(tiny_recipe(tmp_path, source=source, train__workers=1, train__steps=2), tmp_path / "run")
    fingerprint = json.loads((run.path / "data.json").read_text())["source train"]["fingerprint"]
    assert fingerprint == load("webdataset", shards, holdout=0.25, memory="no").fingerprint()
    write_shards(tmp_path / "other", *bars(16, seed=5))
    copy_to_memory(tmp_path / "other", address)
    with pytest.raises(DomtransError, match=r"the data of the run in .* has changed"):
        go(override(run.recipe, ["train.steps=4"], registry()), run.path, resume=True)


@pytest.mark.parametrize("path", ["a.npz", "shards", "shards/{000000..000001}.tar"])
def test_inspect_reads_an_address(server, shards, capsys, path):
    write_bars(server.folder / "a.npz", 16)
    code, out, error = in_process(capsys, "inspect", f"{server.address}/{path}", "holdout=0.25", "--json")
    assert code == 0, error
    found = json.loads(out)["domains"]["source"]
    assert found["splits"] == {"train": 12, "test": 4} and found["sizes"]["median"] == [32, 32]
    assert f"source.path={server.address}/{path}" in found["words"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "https://me:hunter2@host/a.npz"], "holds a password"),
        (["inspect", "memory://nothing-here"], "there is no file or folder memory://nothing-here"),
        (["train", "digits-dtn", "source=arrays", "source.path=https://host/a.npz?token=hunter2"], "holds a password"),
        (["train", "digits-dtn", "source=folder", "source.path=https://host/photos"], "pack it into tar files"),
        (["train", "digits-dtn", "--out", "https://host/run"], "a run folder must be local or in an object store"),
    ],
)
def test_what_is_refused_shows_and_keeps_no_secret(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, error = in_process(capsys, *words)
    assert code == 2 and message in error and "hunter2" not in out + error
    assert not any(b"hunter2" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
