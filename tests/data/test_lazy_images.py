"""Sets that stay in their files: the same images and the same training as in memory, even if files or processes fail."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import domtrans.data.image_set
import domtrans.data.worker_process
from domtrans import Attribute, Batches, DomtransError, ImageSet, Session, Stopped, StoredImages, use
from domtrans.data.domains import load_domain
from domtrans.data.worker_process import start
from domtrans.evaluation.leak_guard import count_repeated
from paths import HELPERS
from processes import start as start_python
from processes import wait_until
from tiny import bars, registry, tiny_recipe, tiny_trainer
from tiny_runs import go, metrics, stop_at, unlike
from tiny_shards import encoded, write_shards, write_tar

IMAGES, LABELS = bars(40)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data") / "shards", IMAGES, LABELS, shard=16)


def load(path, memory, **options):
    return load_domain(registry(), use("webdataset", path=path, memory=memory, **({"holdout": 0.0} | options)), "train", 32)


@pytest.fixture
def session():
    """A session with two decode processes, ended after the test."""
    session = Session.start("cpu", workers=2)
    yield session
    session.decode_pool.close()


def stored_in_tar(path, *contents):
    """StoredImages of encoded images in a tar file."""
    write_tar(path, {f"{i}.png": content for i, content in enumerate(contents)})
    lengths = torch.tensor([len(content) for content in contents])
    begins = 512 + torch.cumsum(torch.cat([torch.zeros(1, dtype=torch.int64), (lengths + 511) // 512 * 512 + 512]), 0)[:-1]
    spans = torch.stack([torch.zeros_like(lengths), begins, lengths], 1)
    return StoredImages(str(path.parent), [path.name], spans, 32)


# The interface of a set


def test_a_set_in_files_equals_the_set_in_memory(shards):
    held, stored = load(shards, "yes"), load(shards, "no")
    assert held.in_memory and not stored.in_memory
    assert (len(stored), stored.shape, stored.channels, stored.classes) == (40, held.shape, 3, held.classes)
    index = torch.tensor([5, 0, 39, 5])
    for one, other in ((held, stored), (held.take(index), stored.take(index)), (held.some(7), stored.some(7))):
        assert torch.equal(one.images, other.images) and torch.equal(one.batch(index % 4), other.batch(index % 4))
        assert torch.equal(torch.cat(list(one.blocks(3))), torch.cat(list(other.blocks(3))))
        assert one.labels is other.labels is None or torch.equal(one.labels, other.labels)
        assert {k: (v.values, v.index.tolist()) for k, v in one.attributes.items()} == {
            k: (v.values, v.index.tolist()) for k, v in other.attributes.items()
        }
    assert stored.some(7).in_memory and not stored.take(index).in_memory
    alone = stored.unlabelled()
    assert alone.labels is None and not alone.attributes and not alone.in_memory


def test_size_or_the_memory_option_decide_where_a_folder_is(tmp_path, monkeypatch):
    for i in range(8):
        (tmp_path / f"class-{i % 2}").mkdir(exist_ok=True)
        (tmp_path / f"class-{i % 2}" / f"{i}.png").write_bytes(encoded(IMAGES[i]))

    def folder(memory):
        return load_domain(registry(), use("folder", path=str(tmp_path), holdout=0.0, memory=memory), "train", 32)

    assert [folder(memory).in_memory for memory in ("auto", "yes", "no")] == [True, True, False]
    monkeypatch.setattr(domtrans.data.image_set, "MAX_AUTO_MEMORY_BYTES", 8 * 3 * 32 * 32 - 1)
    assert [folder(memory).in_memory for memory in ("auto", "yes", "no")] == [False, True, False]
    held, left = folder("yes"), folder("no")
    assert torch.equal(torch.cat(list(left.blocks())), held.images) and left.labels.tolist() == [0] * 4 + [1] * 4
    with pytest.raises(DomtransError, match=r"GiB of pixels.*give the domain memory=yes"):
        _ = left.images


def test_a_fingerprint_covers_names_sizes_and_sampled_bytes(tmp_path):
    for i in range(4):
        (tmp_path / "one").mkdir(exist_ok=True)
        (tmp_path / "one" / f"{i}.png").write_bytes(encoded(IMAGES[i]))
    shutil.copytree(tmp_path / "one", tmp_path / "copy")

    def fingerprint(name):
        return load_domain(
            registry(), use("folder", path=str(tmp_path / name), holdout=0.0, memory="no"), "train", 32
        ).fingerprint()

    before = fingerprint("one")
    assert before == fingerprint("copy")
    (tmp_path / "copy" / "2.png").write_bytes(encoded(IMAGES[2]).replace(b"IEND", b"IENd"))
    assert before != fingerprint("copy")
    (tmp_path / "one" / "2.png").rename(tmp_path / "one" / "9.png")
    assert before != fingerprint("one")


def test_sets_in_files_are_not_searched_for_repeated_images(shards):
    held, stored = load(shards, "yes"), load(shards, "no")
    assert count_repeated(held, held) == 40 and count_repeated(stored, held) is None and count_repeated(held, stored) is None


# Batches from decode processes


def test_batches_do_not_depend_on_the_process_that_decodes(shards, session):
    stored, batches = load(shards, "no"), Batches(40, 6, 0)
    ahead, here, held = (
        session.batch_loader(stored, batches),
        Session.start("cpu").batch_loader(stored, batches),
        load(shards, "yes"),
    )
    in_memory = session.batch_loader(held, batches)
    for k in (0, 1, 2, 3, 1, 2, 30, 31, 0):  # a rollback and a resumption jump
        for one, other, memory in zip(ahead[k], here[k], in_memory[k], strict=True):
            assert torch.equal(one, other) and torch.equal(one, memory)
    assert ahead.pop_wait_seconds() > 0 and ahead.pop_wait_seconds() == 0 and in_memory.pop_wait_seconds() == 0


def test_a_list_of_batches_ends(shards, session):
    blocks = torch.arange(40).split(16)
    loader = session.batch_loader(load(shards, "no"), blocks)
    assert torch.equal(torch.cat([loader[k][1] for k in range(3)]), load(shards, "yes").images)


def test_a_killed_decode_process_is_replaced_and_a_second_failure_is_an_error(shards, session, monkeypatch):
    loader = session.batch_loader(load(shards, "no"), Batches(40, 4, 0))
    processes = session.decode_pool.workers.processes
    before = loader[0]
    killed = list(processes.values())
    assert killed
    for process in killed:
        process.kill()
    assert torch.equal(loader[0][1], before[1])
    assert any(process not in killed for process in processes.values())
    for process in list(processes.values()):
        process.kill()
    monkeypatch.setattr(domtrans.data.worker_process, "start", lambda module: start("this"))  # prints a poem and exits
    with pytest.raises(DomtransError, match=r"a decode process ended twice.*exit code 0.*train\.workers"):
        loader[7]


def test_feed_is_the_deprecated_name_of_batch_loader(shards, session):
    stored, batches = load(shards, "no"), Batches(40, 6, 0)
    with pytest.warns(DeprecationWarning, match=r"use Session\.batch_loader"):
        loader = session.feed(stored, batches)
    assert torch.equal(loader[0][1], session.batch_loader(stored, batches)[0][1])


def test_decoding_needs_no_torch():
    code = "import domtrans.data.decode_worker, sys; assert not {'torch', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_blocks_of_neighbours_stay_together_and_every_image_occurs_once_per_epoch():
    n, block = 1003, 16
    batches = Batches(n, n, 5, block=block)
    epochs = [batches[k] for k in range(2)]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(n))
        together = (order.diff() == 1).double().mean().item()
        assert together == pytest.approx(1 - 1 / block, abs=0.01)
    assert not torch.equal(*epochs)
    begins = [set(order[1:][order.diff() != 1].tolist()) for order in epochs]
    assert len(begins[0] & begins[1]) < len(begins[0]) / 2, "block borders change with the epoch"


# Damage


def test_the_next_image_of_its_class_replaces_a_damaged_one(tmp_path, session, caplog):
    contents = [encoded(image) for image in bars(400)[0]]
    contents[8] = contents[8][:50]
    contents[12] = b"nothing"
    images = stored_in_tar(tmp_path / "a.tar", *contents)
    labels = torch.arange(400) % 4
    found = ImageSet(images, labels, ("a", "b", "c", "d"))
    with caplog.at_level(logging.WARNING):
        loader = session.batch_loader(found, [torch.tensor([7, 8, 9]), torch.tensor([8, 12])])
        first, second = loader[0][1], loader[1][1]
    whole = found.batch(torch.tensor([7, 16, 9]))  # 8 and 12 are damaged; 16 is the next of class 0
    assert torch.equal(first, whole) and torch.equal(second, whole[[1, 1]])
    assert torch.equal(found.batch(torch.tensor([8])), whole[1:2])
    assert found.damaged == 2 and found.take(torch.tensor([8])).damaged == 2
    assert "a.tar, byte" in caplog.text and caplog.text.count("the next image replaces it") == 2
    unlabelled = found.unlabelled()
    assert torch.equal(unlabelled.batch(torch.tensor([8])), unlabelled.batch(torch.tensor([9])))


def test_more_than_one_percent_of_damage_is_an_error(tmp_path):
    contents = [encoded(image) for image in bars(200)[0]]
    for i in (3, 50, 199):
        contents[i] = b""
    found = ImageSet(stored_in_tar(tmp_path / "a.tar", *contents))
    found.batch(torch.tensor([3, 50, 3, 50]))
    assert found.damaged == 2
    with pytest.raises(DomtransError, match=r"3 of 200 images cannot be read so far, more than 1 % of the set.*a\.tar, byte"):
        found.batch(torch.tensor([199]))


def test_oversized_and_missing_images_count_as_damaged(tmp_path, monkeypatch):
    contents = [encoded(image) for image in bars(300)[0]]
    images = stored_in_tar(tmp_path / "a.tar", *contents)
    images.spans[0, 2] = 2**40
    found = ImageSet(images)
    assert torch.equal(found.batch(torch.tensor([0])), found.batch(torch.tensor([1]))) and found.damaged == 1
    assert "too many for an image" in next(iter(images.damage.errors.values()))
    (tmp_path / "a.tar").unlink()
    with pytest.raises(DomtransError, match=r"4 of 300 images cannot be read.*No such file"):
        found.batch(torch.tensor([5]))


# Training


def streamed(folder, shards, memory, **changes):
    source = {"name": "webdataset", "path": shards, "holdout": 0.2, "memory": memory}
    target = {**source, "grey": True}
    augmented = {"source_augmentation": "warp", "target_augmentation": "warp"}
    return tiny_recipe(folder, **{"source": source, "target": target, "train__steps": 6, **augmented, **changes})


def test_a_streamed_run_stopped_and_resumed_equals_one_in_memory(tmp_path, shards):
    held = go(streamed(tmp_path, shards, "yes", train__balance_source=True), tmp_path / "held")
    stop = threading.Event()
    with pytest.raises(Stopped):
        recipe = streamed(tmp_path, shards, "no", train__workers=2, train__balance_source=True)
        go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(3, stop),))
    notes = []
    resumed = go(recipe, tmp_path / "cut", listeners=(lambda progress: notes.append(progress.note),))
    assert unlike(held, resumed) == []
    assert held.results["accuracy"] == resumed.results["accuracy"]
    assert resumed.results["test_images_in_training"] == {"source": None, "target": None}
    assert [note for note in notes if "the source is read from files during training" in note]
    lines = metrics(resumed.path)
    assert all(0 <= line["data_wait"] <= 1 and line["damaged"] == 0 for line in lines) and len(lines) == 6
    assert not any("data_wait" in line for line in metrics(held.path))
    assert not [thread for thread in threading.enumerate() if "domtrans-worker" in thread.name], "the processes have ended"


def test_features_computed_per_batch_equal_those_computed_once(tmp_path, shards):
    plain = {"source_augmentation": None, "target_augmentation": None, "train__workers": 0}
    held, stored = (tiny_trainer(streamed(tmp_path, shards, memory, **plain)) for memory in ("yes", "no"))
    assert held.domains["source"].features is not None and all(side.features is None for side in stored.domains.values())
    for name in ("source_features", "target_features"):
        one, other = (getattr(trainer.load_micro_batch(("source", "target"), 0), name) for trainer in (held, stored))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert torch.equal(held.f.mean, stored.f.mean)


RUN = """
import sys
import domtrans
from tiny import registry
recipe = domtrans.find_recipe(sys.argv[1], registry())
def print_step(progress):
    if progress.phase == "train" and progress.step:
        print(progress.step, flush=True)
domtrans.train(recipe, sys.argv[2], device="cpu", registry=registry(), listeners=(print_step,))
"""


def children(pid):
    """The running child processes of a process; Linux only."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has just ended
                continue
            if int(parent) == pid and state != "Z":
                found.append(int(folder.name))
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_processes_and_resumes(tmp_path, shards):
    recipe = streamed(tmp_path, shards, "no", train__workers=2, train__steps=100_000, train__save_every=2)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    run = start_python("-c", RUN, tmp_path / "recipe.json", tmp_path / "run", cwd=HELPERS)
    for line in run.stdout:
        if int(line) >= 3:
            break
    workers = children(run.pid)
    for number in (signal.SIGINT, signal.SIGTERM):  # as a terminal or a scheduler sends it, to the whole group
        for worker in workers:
            os.kill(worker, number)
    assert len(workers) == 2 and int(run.stdout.readline()) > 3, "a signal to the whole group does not end them"
    run.kill()
    run.communicate()
    wait_until(lambda: not any(map(is_running, workers)))
    done = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    shorter = streamed(tmp_path, shards, "no", train__workers=0, train__steps=done + 2, train__save_every=2)
    assert go(shorter, tmp_path / "run", resume=True).results["steps"] == done + 2


def test_attributes_follow_their_images(shards):
    stored = load(shards, "no")
    parity = stored.take(torch.tensor([3, 4])).attributes["parity"]
    assert isinstance(parity, Attribute) and parity.index.tolist() == [1, 0]
