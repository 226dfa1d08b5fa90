"""``domtrans transfer`` on a terminal, in a pipe and under torchrun."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from commands import PIPED, in_process
from image_folders import animate, names, photo
from process_groups import free_port, started


def command(*words):
    return [sys.executable, "-m", "domtrans", "transfer", *map(str, words)]


def test_a_picture_through_a_pipe(trained, tmp_path):
    content = photo(tmp_path / "a.jpg").read_bytes()
    done = subprocess.run(command(trained[0], "-", "-"), input=content, capture_output=True, env=os.environ | PIPED)
    assert done.returncode == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as made:
        assert made.format == "PNG" and made.size == (32, 32)
    assert done.stderr.decode() == "wrote <stdout>\n"


def test_a_pipe_with_something_else(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"words")))
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], "-", tmp_path / "b.png")
    assert (code, stdout) == (2, "") and not (tmp_path / "b.png").exists()
    assert stderr.startswith("error: ") and stderr.endswith(" is not an image that can be read\n")


def test_options_reach_the_pictures(trained, tmp_path, capsys):
    photo(tmp_path / "in" / "a.png")
    animate(tmp_path / "in" / "b.gif")
    out, sheet = tmp_path / "out", tmp_path / "sheet.jpg"
    words = ["--format", "webp", "--size", 48, "--side-by-side", "--sheet", sheet, "--batch-size", 2, "--workers", 1]
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], tmp_path / "in", out, *words)
    assert (code, stdout, stderr) == (0, f"wrote 2 images to {out}\n", "")
    with Image.open(out / "a.webp") as one, Image.open(out / "b.webp") as moving, Image.open(sheet):
        assert one.size == moving.size == (96, 48) and moving.n_frames == 3
    photo(tmp_path / "in" / "c.png")
    code, stdout, _ = in_process(capsys, "transfer", trained[0], tmp_path / "in", out, *words[:2], "--skip-existing")
    assert (code, stdout) == (0, f"wrote 1 image to {out}; 2 files existed already\n")


def test_several_inputs_and_patterns(trained, tmp_path, capsys):
    for name in ("a/1.png", "a/2.jpg", "b/3.png"):
        photo(tmp_path / name)
    sources = [tmp_path / "a" / "*.jpg", tmp_path / "b"]
    code, stdout, _ = in_process(capsys, "transfer", trained[0], *sources, tmp_path / "out")
    assert code == 0 and "wrote 2 images" in stdout and names(tmp_path / "out") == ["a/2.png", "b/3.png"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.png"], "there is no output for a.png"),
        (["a.png", "b.png", "--size", "9000"], "size=9000 is out of range"),
        (["a.png", "b.png", "--format", "tiff"], "format 'tiff' is not supported; choose png, jpg, webp"),
        (["a.png", "-", "out.png"], "standard input and output take a single image"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(trained, tmp_path, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(photo(tmp_path / "a.png").parent)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], *words)
    assert (code, stdout, stderr.count("\n")) == (2, "", 1) and sentence in stderr


def test_an_input_in_the_place_of_the_output_survives(trained, tmp_path, capsys):
    one, other = photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg", "blue")
    before = other.read_bytes()
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], one, other)
    assert (code, stdout) == (2, "") and other.read_bytes() == before
    assert f"the output {other} exists and was not written by domtrans" in stderr and "--force" in stderr
    for words in (["--force"], []):  # once domtrans has written it, it needs no --force
        code, stdout, _ = in_process(capsys, "transfer", trained[0], one, other, *words)
        assert (code, stdout) == (0, f"wrote {other}\n") and other.read_bytes() != before


@pytest.mark.parametrize("words", [["--crop", "faces"], ["--faces"]])
def test_faces_are_cropped_with_the_new_option_and_with_the_old_one(trained, tmp_path, capsys, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "dlib", None)
    code, _, stderr = in_process(capsys, "transfer", trained[0], photo(tmp_path / "a.jpg"), tmp_path / "b.png", *words)
    assert code == 2 and "the detector 'faces' needs the library dlib" in stderr
    code, _, stderr = in_process(capsys, "transfer", trained[0], tmp_path / "a.jpg", tmp_path / "b.png", "--crop", "hands")
    assert code == 2 and "there is no detector 'hands'" in stderr


def many(folder, count):
    """Pictures of noise, large enough for a network to be at them for a while."""
    first = photo(folder / "0.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(first)
    for number in range(1, count):
        (folder / f"{number}.png").hardlink_to(first)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_transfer_that_is_interrupted_says_how_to_go_on(trained, tmp_path):
    folder, out = many(tmp_path / "in", 5000), tmp_path / "out"
    process = subprocess.Popen(
        command(trained[0], folder, out, "--batch-size", 8), env=os.environ | PIPED, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and not (out.is_dir() and any(out.iterdir())):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=150)
    assert process.returncode == 130, stderr
    assert re.search(r"stopped after [\d,]+ of 5,000 files; every written file is complete", stderr)
    assert (
        stderr.splitlines()[-1]
        == f"continue with: domtrans transfer {trained[0]} {folder} {out} --batch-size 8 --skip-existing"
    )
    assert 0 < len(names(out)) < 5000 and {path.suffix for path in out.iterdir()} == {".png"}


@pytest.mark.skipif(sys.platform == "win32", reason="terminals")
def test_on_a_terminal_a_bar_counts_with_the_time_left(trained, tmp_path):
    folder = many(tmp_path / "in", 400)
    ours, theirs = pty.openpty()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("CI", None)
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        command(trained[0], folder, tmp_path / "out", "--batch-size", 4), env=environment, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    stdout, _ = process.communicate(timeout=150)
    os.close(ours)
    assert process.returncode == 0 and stdout.decode().startswith("wrote 400 images")
    assert b"transferring" in shown and b"400/400" in shown and b"images/s" in shown and b"left" in shown


def test_processes_of_torchrun_share_a_folder_and_one_bad_picture_ends_none(trained, tmp_path):
    folder, out = many(tmp_path / "in", 40), tmp_path / "out"
    (folder / "bad.png").write_bytes(b"no picture")
    group = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    words = [trained[0], folder, out, "--device", "cpu", "--sheet", tmp_path / "sheet.png"]
    processes = [started("-m", "domtrans", "transfer", *words, RANK=rank, LOCAL_RANK=rank, **group) for rank in range(2)]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [1, 1], said
    written = [int(re.search(rf"process {rank + 1} of 2 wrote (\d+) images", said[rank][0])[1]) for rank in range(2)]
    assert sum(written) == 40 == len(names(out)) and min(written) == 20
    assert sum("bad.png is not an image" in stderr for _, stderr in said) == 1 and (tmp_path / "sheet.png").is_file()
