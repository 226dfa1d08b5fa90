"""``domtrans transfer`` on a terminal, in a pipe and under torchrun."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from commands import in_process
from image_folders import animate, names, opened, photo
from processes import start, start_group

SLOW_IMPORTS = {
    *("torchvision", "torch._dynamo", "torch._inductor", "torch.onnx", "torch.distributed.fsdp", "sympy", "triton", "timm"),
    *("matplotlib", "scipy", "plotly", "torchmetrics", "dicebear", "jsonschema", "jinja2", "starlette", "rich", "IPython"),
    *("PIL.PdfImagePlugin", "PIL.ImageTk"),
}
"""Modules that a transfer of one picture does not need; together they would double the time of its start."""


def test_a_transfer_of_one_picture_imports_only_what_it_needs(trained, tmp_path):
    command = ["transfer", str(trained[0]), str(photo(tmp_path / "a.jpg")), str(tmp_path / "made.png")]
    check = f"import sys, domtrans.cli.app as app, contextlib\nwith contextlib.suppress(SystemExit): app.main({command})\n"
    check += f"sys.exit(' '.join({SLOW_IMPORTS} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr == "\n" and (tmp_path / "made.png").exists()


def test_a_picture_through_a_pipe(trained, tmp_path):
    with photo(tmp_path / "a.jpg").open("rb") as content, (tmp_path / "made").open("wb") as made:
        process = start("-m", "domtrans", "transfer", trained[0], "-", "-", stdin=content, stdout=made)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "wrote <stdout>\n")
    with Image.open(tmp_path / "made") as image:
        assert image.format == "PNG" and image.size == (32, 32)


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
    """Write images of noise."""
    first = photo(folder / "0.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(first)
    for number in range(1, count):
        (folder / f"{number}.png").hardlink_to(first)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_transfer_that_is_interrupted_says_how_to_go_on(trained, tmp_path, capsys, monkeypatch):
    folder, out = many(tmp_path / "in", 200), tmp_path / "out"
    words = ["transfer", trained[0], folder, out, "--batch-size", 8]
    save, interrupted = Image.Image.save, threading.Event()

    def save_and_interrupt(*args, **options):
        save(*args, **options)
        if not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Image.Image, "save", save_and_interrupt)
    monkeypatch.setattr(sys, "argv", ["domtrans", *map(str, words)])
    code, stdout, stderr = in_process(capsys, *words)
    assert (code, stdout) == (130, "")
    assert re.search(r"stopped after \d+ of 200 files; every written file is complete", stderr)
    assert (
        stderr.splitlines()[-1]
        == f"continue with: domtrans transfer {trained[0]} {folder} {out} --batch-size 8 --skip-existing"
    )
    assert 0 < len(names(out)) < 200 and {path.suffix for path in out.iterdir()} == {".png"}


@pytest.mark.skipif(sys.platform == "win32", reason="terminals")
def test_on_a_terminal_a_bar_counts_with_the_time_left(trained, tmp_path):
    folder = many(tmp_path / "in", 40)
    ours, theirs = pty.openpty()
    terminal = {"TERM": "xterm", "COLUMNS": "100", "CI": None, "NO_COLOR": None}
    words = ["transfer", trained[0], folder, tmp_path / "out", "--batch-size", 4]
    process = start("-m", "domtrans", *words, env=terminal, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(ours, 65536):
            shown += part
    stdout, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0 and stdout.startswith("wrote 40 images")
    assert b"transferring" in shown and b"40/40" in shown and b"images/s" in shown and b"left" in shown


def test_processes_of_torchrun_share_a_folder_and_one_bad_picture_ends_none(trained, tmp_path):
    folder, out = many(tmp_path / "in", 40), tmp_path / "out"
    (folder / "bad.png").write_bytes(b"no image")
    words = [trained[0], folder, out, "--device", "cpu", "--sheet", tmp_path / "sheet.png"]
    processes = start_group(2, "-m", "domtrans", "transfer", *words)
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [1, 1], outputs
    written = [int(re.search(rf"process {rank + 1} of 2 wrote (\d+) images", outputs[rank][0])[1]) for rank in range(2)]
    assert sum(written) == 40 == len(names(out)) and min(written) == 20
    assert sum("bad.png is not an image" in stderr for _, stderr in outputs) == 1 and (tmp_path / "sheet.png").is_file()


def test_what_a_folder_holds_besides_is_counted(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("domtrans.data.image_formats.find_spec", lambda name: None)
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "b.jfif", "c.avif", "d.jp2", "other/e.png"):
        photo(folder.parent / name if name.startswith("other") else folder / name)
    (folder / "more").symlink_to("../other")
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], folder, out)
    assert (code, stdout, stderr) == (0, f"wrote 5 images to {out}; 1 file was skipped: 1 not an image (.txt)\n", "")
    assert names(out) == ["a.png", "b.png", "c.png", "d.png", "more/e.png"]
    for name in ("f.heic", "g.heic", "h.cr2"):
        (folder / name).touch()
    (folder / "i.png").symlink_to("missing.png")
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], folder, out)
    reasons = "2 need the extra heif (.heic), 1 unsupported image format (.cr2), 1 broken link, 1 not an image (.txt)"
    assert (code, stdout) == (1, f"wrote 5 images to {out}; 5 files were skipped: {reasons}\n")
    assert stderr.splitlines() == [
        f"skipped: {folder / 'f.heic'} and 1 more: needs the extra heif (.heic); install it with: pip install 'domtrans[heif]'",
        f"skipped: {folder / 'h.cr2'}: unsupported image format (.cr2)",
        f"skipped: {folder / 'i.png'}: broken link",
    ]


def test_a_folder_without_images_says_what_there_is_instead(trained, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "b.psd"):
        (tmp_path / "in" / name).touch()
    for source in (tmp_path / "in", tmp_path / "in" / "*"):
        code, _, stderr = in_process(capsys, "transfer", trained[0], source, tmp_path / "out")
        assert code == 2 and "2 files were skipped: 1 not an image (.txt), 1 unsupported image format (.psd)" in stderr


def test_files_of_a_pattern_are_counted_too(trained, tmp_path, capsys):
    photo(tmp_path / "a.png")
    (tmp_path / "b.txt").touch()
    code, stdout, _ = in_process(capsys, "transfer", trained[0], tmp_path / "*", tmp_path / "out")
    assert code == 0 and stdout.endswith("; 1 file was skipped: 1 not an image (.txt)\n")


def test_aspect_and_the_limit_of_pixels_are_options(trained, tmp_path, capsys, monkeypatch):
    wide = Image.new("RGB", (64, 32))
    wide.paste("white", (16, 0, 48, 32))
    wide.save(tmp_path / "a.png")
    for aspect in ("crop", "pad", "squeeze"):
        words = ["--aspect", aspect, "--side-by-side"]
        assert in_process(capsys, "transfer", trained[0], tmp_path / "a.png", tmp_path / f"{aspect}.png", *words)[0] == 0
    shown = {aspect: opened(tmp_path / f"{aspect}.png").crop((0, 0, 32, 32)) for aspect in ("crop", "pad", "squeeze")}
    assert shown["crop"].getpixel((1, 16)) == (255, 255, 255)
    assert shown["pad"].getpixel((1, 16)) == shown["squeeze"].getpixel((1, 16)) == (0, 0, 0)
    code, _, stderr = in_process(capsys, "transfer", trained[0], tmp_path / "a.png", tmp_path / "b.png", "--aspect", "stretch")
    assert code == 2 and "the aspect 'stretch' is not supported; choose crop, pad, squeeze" in stderr
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    code, _, stderr = in_process(capsys, "transfer", trained[0], tmp_path / "a.png", tmp_path / "b.png")
    assert code == 2 and "has 2,048 pixels, more than the limit of 500" in stderr and "--max-pixels" in stderr
    assert in_process(capsys, "transfer", trained[0], tmp_path / "a.png", tmp_path / "b.png", "--max-pixels", 0)[0] == 0
    monkeypatch.setenv("DOMTRANS_MAX_PIXELS", "3000")
    assert in_process(capsys, "transfer", trained[0], tmp_path / "a.png", tmp_path / "c.png")[0] == 0


def test_the_home_folder_may_be_written_short(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photo(tmp_path / "a.png")
    sheet = ["~/a.png", "~/d.png", "--sheet=~/s.png"]
    for words in (["~/a.png", "~/b.png"], ["~/*.png", "~/out"], ["~/a.png", "--out=~/c.png"], sheet):
        assert in_process(capsys, "transfer", trained[0], *words)[0] == 0
    assert {"b.png", "c.png", "d.png", "s.png", "out/a.png"} <= set(names(tmp_path))
