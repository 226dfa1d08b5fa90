"""A run at the address of an object store: published whole at every save, continued elsewhere, and read like any other."""

import json
import threading

import pytest
import torch

from commands import SMALL, in_process
from domtrans import DomtransError, Stopped, load, report
from domtrans.pretrained.remote import fetch
from domtrans.runs import published_folder
from domtrans.runs.published_folder import PublishedRunFolder
from domtrans.storage import requests
from domtrans.storage.published import INDEX_FILE, read_publication
from domtrans.storage.tensors import read_tensors
from tiny import registry, tiny_recipe
from tiny_runs import go, losses, metrics, stop_at, unlike

fsspec = pytest.importorskip("fsspec")
ADDRESS = "memory://bucket/runs/digits"


@pytest.fixture
def store(monkeypatch):
    """The files of an empty store in memory; requests are repeated without a pause."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    monkeypatch.setattr(requests, "WAIT_SECONDS", (0, 0))
    yield memory
    memory.store.clear()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Go to another machine, which has local copies of its own."""

    def go_to(name):
        monkeypatch.setattr(published_folder, "cache_folder", lambda: tmp_path / name)

    go_to("one")
    return go_to


def published():
    return read_publication(ADDRESS).files


def test_a_run_goes_on_elsewhere_and_ends_the_same(store, machine, tmp_path):
    recipe, stop = tiny_recipe(tmp_path, train__save_every=1, train__keep=2), threading.Event()
    undisturbed = go(recipe, tmp_path / "run")
    with pytest.raises(Stopped, match=f"everything is saved in {ADDRESS}"):
        go(recipe, ADDRESS, stop=stop, listeners=stop_at(2, stop))
    assert "training.safetensors" in published() and "results.json" not in published()
    machine("two")
    run = go(recipe, ADDRESS)
    assert not unlike(run, undisturbed) and run.results["metrics"] == undisturbed.results["metrics"]
    assert [*map(losses, metrics(run.path))] == [*map(losses, metrics(undisturbed.path))]
    ours = {file.relative_to(run.path).as_posix() for file in run.path.rglob("*") if file.is_file()}
    assert {*published()} == ours - {".lock"} and "earlier/step-00000003.safetensors" in ours

    machine("three")
    loaded = load(ADDRESS, device="cpu", registry=registry())
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(loaded.transfer(images), undisturbed.transfer(images)) and loaded.results == run.results
    assert not (fetch(ADDRESS) / "training.safetensors").exists(), "only resuming needs it"
    best = load(f"{ADDRESS}/model.safetensors", device="cpu", registry=registry())
    assert best.results == run.results
    page = report(ADDRESS, tmp_path / "report.html", registry=registry()).read_text()
    assert page.count("data:image/png") > 1, "samples and examples are in the store, too"


def save(folder, step):
    """Save a state and a model of a step, as the training loop does."""
    weights = {"step": torch.tensor(step)}
    folder.save_model(weights, folder.recipe(), {"step": step})
    folder.save_training(weights)


@pytest.fixture
def recipe(tmp_path):
    return tiny_recipe(tmp_path)


def train_at(recipe, steps):
    """Open the run at the address as this machine does, and save so many steps."""
    folder = published_folder.run_folder(ADDRESS)
    with folder.open(recipe, registry(), resume=False):
        state = folder.load_training()
        first = 0 if state is None else int(state["step"])
        for step in range(first + 1, first + 1 + steps):
            save(folder, step)
            yield step


def test_readers_never_see_half_a_publication(store, machine, recipe, monkeypatch):
    seen, put = [], type(store).put_file

    def read_before_every_upload(self, file, key, **options):
        if "training.safetensors" in published():
            folder = fetch(ADDRESS, whole=True)
            assert {file.name for file in folder.rglob("*.*")} == {*published()} - {"training.safetensors"}
            seen.append(int(read_tensors(folder / "model.safetensors")[0]["step"]))
        return put(self, file, key, **options)

    monkeypatch.setattr(type(store), "put_file", read_before_every_upload)
    assert [*train_at(recipe, 4)] == [1, 2, 3, 4]
    assert seen == [1, 1, 2, 2, 3, 3], "two files change at every save"
    models = [name for name in store.find("/bucket") if name.endswith("/model.safetensors")]
    assert len(models) == 2, "the files of the publication before stay, earlier ones are removed"


def test_a_store_that_fails_stops_nothing_and_loses_nothing(store, machine, recipe, monkeypatch, caplog):
    asked = []

    def refuse(*_, **__):
        asked.append(1)
        raise ConnectionError("the network is down")

    training = train_at(recipe, 2)
    assert next(training) == 1
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "put_file", refuse)
        with pytest.raises(DomtransError, match=r"the network is down.*the run is complete in .*, and the same command publ"):
            assert [next(training), next(training)] == [2]
        assert len(asked) == 6, "both publications were tried three times"
        with pytest.raises(DomtransError, match=r"^memory://.* cannot be written: the network is down"):
            [*train_at(recipe, 1)]
    assert "training continues, and the next save publishes it" in caplog.text
    assert int(PublishedRunFolder(ADDRESS).load_training()["step"]) == 2
    before = published()
    assert [*train_at(recipe, 1)] == [3] and published() != before


def test_two_machines_do_not_train_the_same_run(store, machine, recipe):
    training = train_at(recipe, 9)
    assert next(training) == 1
    machine("two")
    assert [*train_at(recipe, 2)] == [2, 3]
    machine("one")
    with pytest.raises(DomtransError, match=f"{ADDRESS} was changed by another process; let only one train there"):
        next(training)
    assert [*train_at(recipe, 1)] == [4], "the next training goes on with what the other machine published"


def test_a_run_that_was_removed_from_the_store_begins_anew(store, machine, recipe, caplog):
    assert [*train_at(recipe, 2)] == [1, 2]
    store.store.clear()
    assert [*train_at(recipe, 1)] == [1] and "was changed elsewhere" in caplog.text


@pytest.mark.parametrize("index", ["{", '{"format": "other"}', '{"format": "domtrans-published-1", "files": {"../x": "%s"}}'])
def test_an_index_from_anyone_is_checked(store, machine, index):
    store.pipe_file(f"/bucket/runs/digits/{INDEX_FILE}", (index.replace("%s", 64 * "0")).encode())
    with pytest.raises(DomtransError, match=rf"^{ADDRESS}/published.json cannot be read: "):
        load(ADDRESS)
    with pytest.raises(DomtransError, match="cannot be read"):
        published_folder.run_folder(ADDRESS)


def test_a_damaged_file_is_refused(store, machine):
    folder = PublishedRunFolder(ADDRESS)
    folder.fetch()
    (folder.path / "recipe.json").write_text(json.dumps({}))
    folder.publish()
    machine("two")
    store.pipe_file(read_publication(ADDRESS).address_of("recipe.json").removeprefix("memory:/"), b"changed")
    with pytest.raises(DomtransError, match=f"recipe.json at {ADDRESS} is damaged"):
        PublishedRunFolder(ADDRESS).fetch()


def test_the_command_trains_at_an_address(store, machine, data, capsys):
    code, out, error = in_process(capsys, "train", "digits-dtn-paper", *data, *SMALL, "--out", ADDRESS, "--device", "cpu")
    assert code == 0 and out.splitlines()[-3].split() == ["run", ADDRESS], error
    code, out, _ = in_process(capsys, "train", ADDRESS, "--resume", "train.steps=6", "--device", "cpu", "--quiet")
    assert code == 0 and "results.json" in published()
    code, _, error = in_process(capsys, "train", "digits-dtn", "--out", "https://host/run")
    assert code == 2 and "a run folder must be local or in an object store (s3://" in error
