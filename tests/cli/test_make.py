"""``domtrans make``: a rendered domain as shards, always with the same bytes, and never a partial shard."""

import json
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
import torch
from PIL import Image

from commands import domtrans, in_process
from domtrans import DomtransError, load_domain, use
from domtrans.cli import interrupt
from domtrans.data import shard_writer
from processes import start, wait_until
from tiny import registry

SMALL = ["--count", "25", "--shard", "10", "--size", "32", "--workers", "1", "-q"]
SHARDS = ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]


def make(capsys, out, *words):
    return in_process(capsys, "make", "avatars", out, *SMALL, *words)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished folder, and the command's result."""
    out = tmp_path_factory.mktemp("made") / "deep" / "avatars"
    return out, domtrans("make", "avatars", out, *SMALL[:-3], "--workers", 2)


def test_shards_hold_images_and_their_attributes(made):
    out, done = made
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote 25 images to {out} in 3 shards\n" and "images/s" in done.stderr
    assert sorted(content(out)) == ["make.json", *SHARDS, "vocabulary.json"]
    vocabulary = json.loads((out / "vocabulary.json").read_text())
    assert vocabulary["glasses"] == ["no", "yes"] and next(iter(vocabulary)) == "skin"
    number = 0
    for name in SHARDS:
        with tarfile.open(out / name) as tar:
            for picture, about in zip(*[iter(tar)] * 2, strict=True):
                assert (picture.name, about.name) == (f"{number:08d}.png", f"{number:08d}.json")
                with Image.open(tar.extractfile(picture)) as image:
                    assert image.format == "PNG" and image.size == (32, 32)
                shown = json.loads(tar.extractfile(about).read())["attributes"]
                assert all(value in vocabulary[key] for key, value in shown.items()) and "skin" in shown
                number += 1
    assert number == 25


def test_the_webdataset_domain_reads_the_same_avatars(made):
    drawn = load_domain(registry(), use("avatars", count=25), "train", 32)
    found = [
        load_domain(registry(), use("webdataset", path=str(made[0]), holdout=0.2), split, 32) for split in ("train", "test")
    ]
    assert torch.equal(torch.cat([part.images for part in found]), drawn.images)
    for name, of in drawn.attributes.items():
        assert found[0].attributes[name].values == of.values
        assert torch.equal(torch.cat([part.attributes[name].index for part in found]), of.index)


def test_the_bytes_are_the_same_when_two_ranks_share_the_work(made, tmp_path, capsys, monkeypatch):
    """The fixture used two workers; here one process writes the shards, first as rank 0 and then as rank 1."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, wanted in (("0", [SHARDS[0], SHARDS[2]]), ("1", [SHARDS[1]])):
        monkeypatch.setenv("RANK", rank)
        before = set(content(tmp_path / "out")) if rank == "1" else set()
        code, _, err = make(capsys, tmp_path / "out")
        assert code == 0, err
        assert sorted(set(content(tmp_path / "out")) - before - {"make.json", "vocabulary.json"}) == wanted
    assert content(tmp_path / "out") == content(made[0])


def test_it_continues_where_it_stopped(made, tmp_path, capsys):
    for name, whole in content(made[0]).items():
        if name != SHARDS[1]:
            (tmp_path / name).write_bytes(whole)
    kept = (tmp_path / SHARDS[2]).stat().st_mtime_ns
    code, out, _ = make(capsys, tmp_path)
    assert code == 0 and out == f"wrote 10 images to {tmp_path} in 1 shard\n"
    assert content(tmp_path) == content(made[0]) and (tmp_path / SHARDS[2]).stat().st_mtime_ns == kept
    code, out, _ = make(capsys, tmp_path)
    assert code == 0 and out == f"{tmp_path} is already complete\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["style=micah"], 'style="avataaars", not "micah"'),
        (["--seed", "3"], "seed=0, not 3"),
        (["--count", "26"], "count=25, not 26"),
        (["--shard", "5"], "shard=10, not 5"),
        (["--split", "test"], 'split="train", not "test"'),
    ],
)
def test_a_folder_made_with_other_settings_is_refused(made, capsys, words, sentence):
    before = content(made[0])
    code, out, err = make(capsys, made[0], *words)
    assert code == 2 and sentence in err and "choose another folder" in err and out == ""
    assert content(made[0]) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mnist"], "the domain 'mnist' is not a rendered domain"),
        (["avatarz"], "there is no domain 'avatarz' (did you mean 'avatars'?)"),
        (["avatars", "stile=micah"], "there is no option 'stile' (did you mean 'style'?)"),
        (["avatars", "style"], "'style' is not of the form path=value"),
        (["avatars", "--split", "dev"], "--split must be train or test, not 'dev'"),
        (["avatars", "--count", "0"], "--count"),
        (["avatars", "--shard", "1000000"], "--shard"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, capsys, words, sentence):
    code, _, err = in_process(capsys, "make", words[0], tmp_path / "out", *words[1:])
    assert code == 2 and sentence in " ".join(err.split()).replace("│ ", "") and not (tmp_path / "out").exists()


def test_an_impossible_rank_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = make(capsys, tmp_path)
    assert code == 2 and "RANK=2 must be less than WORLD_SIZE=2" in err and not content(tmp_path)


def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, err = make(capsys, tmp_path)
    assert code == 2 and "holds other files, such as thesis.tex" in err and list(content(tmp_path)) == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    code, _, err = make(capsys, tmp_path / "file")
    assert code == 2 and "is a file, not a folder; choose another folder" in err


@pytest.mark.parametrize("text", ["no json", "[]", "7"])
def test_damaged_settings_are_one_sentence(tmp_path, capsys, text):
    (tmp_path / "make.json").write_text(text)
    code, _, err = make(capsys, tmp_path)
    assert code == 2 and "make.json" in err and "Traceback" not in err


def test_a_full_disk_leaves_complete_shards(made, tmp_path, capsys, monkeypatch):
    whole = shard_writer.write_bytes

    def full(path, content):
        if path.name == SHARDS[1]:
            raise DomtransError(f"{path} cannot be written: No space left on device")
        whole(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(shard_writer, "write_bytes", full)
        code, _, err = make(capsys, tmp_path)
    assert code == 2 and "No space left" in err
    assert sorted(content(tmp_path)) == ["make.json", SHARDS[0], "vocabulary.json"]
    assert make(capsys, tmp_path)[0] == 0 and content(tmp_path) == content(made[0])


def test_ctrl_c_keeps_complete_shards_and_prints_how_to_continue(tmp_path, capsys, monkeypatch):
    @contextmanager
    def at_once():
        stop = Event()
        stop.set()
        yield stop

    monkeypatch.setattr(interrupt, "stop_on_signals", at_once)
    monkeypatch.setattr(sys, "argv", ["domtrans", "make", "avatars", "an out"])
    code, out, err = make(capsys, tmp_path / "out")
    assert code == 130 and out == ""
    assert "0 of 3 shards" in err and "continue with: domtrans make avatars 'an out'" in err
    assert sorted(content(tmp_path / "out")) == ["make.json", "vocabulary.json"]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds child processes by /proc")
def test_a_killed_make_leaves_no_process_and_no_partial_shard(tmp_path, capsys):
    words = [*SMALL[:-3], "--workers", "2", "--count", "100000", "--shard", "200", "--quiet"]
    process = start("-m", "domtrans", "make", "avatars", tmp_path, *words)
    wait_until((tmp_path / SHARDS[1]).is_file, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    children += [pid for task in Path(f"/proc/{process.pid}/task").iterdir() for pid in (task / "children").read_text().split()]
    assert process.poll() is None and len(set(children)) == 2
    process.kill()
    process.communicate()
    wait_until(lambda: not any(is_running(pid) for pid in children))
    for path in sorted(tmp_path.glob("shard-*.tar")):
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 400


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
