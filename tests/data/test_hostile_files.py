"""Folders of odd and damaged image files: each file is transferred or reported, and nothing is lost or blocks."""

import io
import os
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from packaging.version import Version
from PIL import Image

from commands import in_process
from domtrans import DomtransError, find_images, find_recipe, transfer
from domtrans.data.image_files import read_image
from domtrans.data.pixels import flatten, from_pil
from domtrans.inference.transfer_files import BATCH_SIZE, output_names
from domtrans.model.weights import read_weights
from image_folders import Mirror, colour_of, photo
from permissions import as_anyone
from tiny import bars, registry


def of_mode(mode):
    """An image of any Pillow mode."""
    base = Image.fromarray(bars(1)[0][0])
    if mode.startswith("I;16"):
        return Image.frombytes(mode, (32, 32), np.arange(1024, dtype=np.uint16).tobytes())
    if mode == "LAB":
        return Image.new("LAB", (32, 32), (100, 120, 120))
    steps = {"La": ["LA"], "RGBa": ["RGBA"], "PA": ["P"], "I": ["L"], "F": ["L"], "LA": ["L"]}.get(mode, [])
    for step in [*steps, mode]:
        base = base.convert(step)
    return Image.fromarray(np.asarray(base) / np.float32(255)) if mode == "F" else base


MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "I", "F"]


@pytest.mark.parametrize("mode", [*MODES, "I;16", "I;16L", "I;16B", "I;16N"])
def test_every_pillow_mode(mode):
    image = of_mode(mode)
    assert image.mode == mode
    for channels in (1, 3):
        assert from_pil(image, 8, channels).shape == (channels, 8, 8)
    assert flatten(Image.new(mode, (1, 1)) if mode != "La" else image).mode in ("L", "RGB")


SAVED = [("1", "png"), ("L", "jpg"), ("LA", "png"), ("P", "gif"), ("P", "png"), ("RGBA", "webp"), ("RGBA", "tif")]
SAVED += [("CMYK", "jpg"), ("CMYK", "tif"), ("LAB", "tif"), ("I", "tif"), ("F", "tif"), ("I;16", "png")]
SAVED += [("I;16", "tif"), ("I;16B", "tif"), ("I;16", "pgm"), ("1", "bmp"), ("L", "ppm"), ("RGBX", "tif")]


SAVED += [
    pytest.param(
        "YCbCr",
        "tif",
        marks=pytest.mark.skipif(
            Version(PIL.__version__) < Version("13"), reason="Pillow before 13 does not read the YCbCr TIFF that it writes"
        ),
    )
]


@pytest.mark.parametrize(("mode", "ending"), SAVED)
def test_every_mode_from_a_file(tmp_path, mode, ending):
    of_mode(mode).save(tmp_path / f"a.{ending}")
    assert read_image(tmp_path / f"a.{ending}").mode in ("L", "RGB")


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation_is_read(tmp_path, ending):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **lossless)
    with Image.open(tmp_path / f"a.{ending}") as image:
        assert image.n_frames == 3
    assert read_image(tmp_path / f"a.{ending}").getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (30_000, 3), (3, 30_000), (2, 1)])
def test_odd_sizes(tmp_path, size):
    transfer(Mirror(), photo(tmp_path / "a.png", size=size), tmp_path / "b.png")
    assert colour_of(tmp_path / "b.png") == (255, 0, 0)


def test_a_decompression_bomb_is_refused(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(DomtransError, match=r"has 400,000,000 pixels, more than the limit of 89,478,485; .*--max-pixels"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["png-inside.jpg", "a.PNG", "JPEG.gif"])
def test_a_wrong_suffix_does_not_matter(tmp_path, name):
    content = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(content, "PNG")
    (tmp_path / name).write_bytes(content.getvalue())
    assert read_image(tmp_path / name).getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n", b"\0\0\1\0", b"<svg/>"]
)
def test_formats_that_start_other_programs_are_not_tried(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content + b"x" * 200)
    with pytest.raises(DomtransError, match="not an image"):
        read_image(tmp_path / "a.png")


def soon(work, seconds=120):
    """The result of work that might block forever."""
    outcome = []

    def run():
        try:
            outcome.append(work())
        except DomtransError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, "it blocks"
    return outcome[0]


@pytest.fixture
def zoo(tmp_path):
    """A folder of two images among files, links and devices that are none."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "folder.png").mkdir()
    (folder / "empty.png").write_bytes(b"")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "around").symlink_to(folder)
    (folder / "nowhere.png").symlink_to("missing.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    whole = photo(folder / "whole.png").read_bytes()
    (folder / "short.jpg").write_bytes(whole[:30])
    (folder / "linked.png").symlink_to("whole.png")
    return folder


def test_anything_but_a_regular_file_is_skipped_or_refused(zoo, tmp_path):
    assert [path.name for path in soon(lambda: find_images(zoo))] == ["empty.png", "linked.png", "short.jpg", "whole.png"]
    for name in ("pipe.png", "device.png", "folder.png"):
        assert "not a regular file" in soon(lambda name=name: read_image(zoo / name))
    for name, reason in (("loop.png", "Too many levels of symbolic links"), ("nowhere.png", "there is no file")):
        assert reason in soon(lambda name=name: read_image(zoo / name))
    done = soon(lambda: transfer(Mirror(), zoo, tmp_path / "out"))
    assert [path.name for path in done.written] == ["linked.png", "whole.png"]
    assert [path.name for path, _ in done.failed] == ["empty.png", "short.jpg"]


def test_pipes_given_as_data_or_recipes_do_not_block(tmp_path):
    for name in ("pipe.npz", "pipe.toml", "pipe.safetensors"):
        os.mkfifo(tmp_path / name)
    arrays = registry().get("domain", "arrays").factory
    assert "not a regular file" in soon(lambda: arrays("train", 16, path=str(tmp_path / "pipe.npz")))
    assert "not a regular file" in soon(lambda: find_recipe(str(tmp_path / "pipe.toml"), registry()))
    assert "not a regular file" in soon(lambda: read_weights(tmp_path / "pipe.safetensors"))


def test_files_without_read_permission_are_reported():
    with as_anyone() as folder:
        photo(folder / "in" / "good.png")
        photo(folder / "in" / "closed.png").chmod(0)
        deep = photo(folder / "in" / "deep" / "a.png").parent
        deep.chmod(0)
        done = transfer(Mirror(), folder / "in", folder / "out")
        assert [path.name for path in done.written] == ["good.png"]
        assert [(path.name, "Permission denied" in reason) for path, reason in done.failed] == [("closed.png", True)]
        deep.chmod(0o700)  # so that it can be deleted


def test_a_folder_without_write_permission_is_an_error():
    with as_anyone() as folder:
        photo(folder / "in" / "good.png")
        (folder / "out").mkdir(0o500)
        for place in (folder / "out", folder / "out" / "deeper"):
            with pytest.raises(DomtransError, match="cannot be written: Permission denied"):
                transfer(Mirror(), folder / "in", place)


NAMES = [
    "größe.png",
    "数字.png",
    "🐈.png",
    "a\nb.png",
    "tab\t.png",
    "-rf.png",
    "--help.png",
    "two  spaces.png",
    "'\"`$(x);.png",
]
NAMES += ["x" * 251 + ".png", "e\u0301.png", "\x1b[31mred.png", "a.b.c.png", "ends.with.dot..png", os.fsdecode(b"\xff\xfe.png")]


@pytest.mark.parametrize("bad", [False, True])
def test_file_names_with_any_characters(tmp_path, bad):
    for name in NAMES:
        photo(tmp_path / "in" / name)
        if bad:
            (tmp_path / "in" / name).write_bytes(b"")
    done = transfer(Mirror(), tmp_path / "in", tmp_path / "out")
    assert len(done.failed if bad else done.written) == len(NAMES)
    assert all(reason.isprintable() for _, reason in done.failed), "one line each, without control characters"
    assert {path.name for path in done.written} == set(() if bad else NAMES)


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    for source, target in [("y" * 300 + ".png", "b.png"), ("a.png", "y" * 300 + ".png"), ("a.png", "y\0.png")]:
        photo(tmp_path / "a.png")
        with pytest.raises(DomtransError):
            transfer(Mirror(), tmp_path / source, tmp_path / target)


def test_images_with_the_same_output_name_all_survive(tmp_path):
    colours = {
        "a.jpg": "red",
        "a.png": "lime",
        "b.gif": "blue",
        "in/a.jpg": "white",
        "in/a.jpg.png": "black",
        "in/a.png": "lime",
    }
    for name, colour in colours.items():
        photo(tmp_path / "in" / name, colour)
    done = transfer(Mirror(), tmp_path / "in", tmp_path / "out")
    names = [str(path.relative_to(tmp_path / "out")) for path in done.written]
    assert len(set(names)) == len(colours) and {"a.jpg.png", "a.png.png", "b.png"} < set(names)
    for (_, colour), path in zip(sorted(colours.items()), done.written, strict=True):
        expected = np.array(Image.new("RGB", (1, 1), colour).getpixel((0, 0)))
        assert np.abs(np.array(colour_of(path)) - expected).max() < 40, path


def test_output_names():
    def named(*names):
        return [str(path) for path in output_names([Path(name) for name in names])]

    assert named("a.jpg", "b.jpg") == ["a.png", "b.png"]
    assert named("a.jpg", "A.png", "b/a.png") == ["a.jpg.png", "A.png.png", "b/a.png"]
    assert named("a.jpg", "a.png/x.jpg") == ["a.jpg.png", "a.png/x.png"], "there will be a folder a.png"
    assert len(set(named("a.jpg", "a.png", "a.jpg.png", "a.jpg.gif"))) == 4
    assert named("\u00e9.jpg", "e\u0301.png") == ["\u00e9.jpg.png", "e\u0301.png.png"]


def test_an_input_is_never_overwritten(tmp_path):
    folder = tmp_path / "in"
    before = photo(folder / "a.png").read_bytes()
    photo(folder / "in" / "a.png", "lime")
    (tmp_path / "link").symlink_to(folder)
    cases = [(folder, folder), (folder, tmp_path / "link"), (folder, folder / "in" / "..")]
    for source, destination in [*cases, (folder / "a.png", folder / "a.png"), (folder / "a.png", folder)]:
        with pytest.raises(DomtransError, match="would replace an image that is to be transferred"):
            transfer(Mirror(), source, destination)
    with pytest.raises(DomtransError, match="would replace an image that is to be transferred"):
        transfer(Mirror(), folder, tmp_path)  # in/in/a.png would become in/a.png
    assert (folder / "a.png").read_bytes() == before


def test_a_destination_inside_the_source_is_not_part_of_it(tmp_path):
    photo(tmp_path / "a.jpg")
    for _ in range(2):
        done = transfer(Mirror(), tmp_path, tmp_path / "made")
        assert [path.relative_to(tmp_path).as_posix() for path in done.written] == ["made/a.png"]


def test_an_image_is_written_completely_or_not_at_all(tmp_path, monkeypatch):
    photo(tmp_path / "in.png", "lime")
    old = photo(tmp_path / "out.png", "red").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(DomtransError, match="cannot be written: No space left"):
        transfer(Mirror(), tmp_path / "in.png", tmp_path / "out.png", force=True)
    monkeypatch.undo()
    assert (tmp_path / "out.png").read_bytes() == old and len(list(tmp_path.iterdir())) == 2


def test_a_large_folder_is_read_in_batches_with_limited_memory(tmp_path):
    count, side = 4 * BATCH_SIZE + 40, 400
    first = photo(tmp_path / "in" / "0.png", size=(side, side))
    for number in range(1, count):
        (tmp_path / "in" / f"{number}.png").hardlink_to(first)
    for number in (7, 70, 270):
        (tmp_path / "in" / f"{number}.png").unlink()
        (tmp_path / "in" / f"{number}.png").write_bytes(b"no image")
    mirror = Mirror()
    tracemalloc.start()
    done = transfer(mirror, tmp_path / "in", tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(done.written) == count - 3 == sum(mirror.batches) and max(mirror.batches) <= BATCH_SIZE
    assert sorted(path.name for path, _ in done.failed) == ["270.png", "7.png", "70.png"]
    assert peak < 20 * 3 * side * side, "a few images at full size, not a batch of them"


def test_the_command_reports_three_damaged_images_among_thousands(trained, tmp_path, capsys):
    first = photo(tmp_path / "in" / "0.png", size=(8, 8))
    for number in range(1, 2000):
        (tmp_path / "in" / f"{number}.png").hardlink_to(first)
    for number in (7, 70, 700):
        (tmp_path / "in" / f"{number}.png").unlink()
        (tmp_path / "in" / f"{number}.png").write_bytes(b"no image")
    code, stdout, stderr = in_process(capsys, "transfer", trained[0], tmp_path / "in", tmp_path / "out")
    assert code == 1 and "1,997 images" in stdout and "3 files failed" in stdout
    assert [line for line in stderr.splitlines() if "not an image" in line] == stderr.splitlines() and stderr.count("\n") == 3
    assert len(list((tmp_path / "out").iterdir())) == 1997


def test_hundreds_of_damaged_images(tmp_path):
    """Flipped, removed, spliced and replaced bytes in every format: the file is read, or refused in one line."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    wholes = []
    for ending in ("png", "jpg", "gif", "bmp", "webp", "tif", "ppm", "avif", "jp2"):
        Image.fromarray(noise).save(tmp_path / f"a.{ending}")
        wholes.append((tmp_path / f"a.{ending}").read_bytes())
    refused = 0
    for number in range(900):
        content, other = bytearray(wholes[number % 9]), wholes[int(rng.integers(9))]
        place = int(rng.integers(len(content)))
        match number // 9 % 4:
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                content[place : place + 4] = rng.bytes(4)
            case 2:
                content[: int(rng.integers(64))] = other[: int(rng.integers(64))]
            case 3:
                content[place:] = content[place + int(rng.integers(1, 9)) :]
        (tmp_path / "b.png").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                read_image(tmp_path / "b.png")
            except DomtransError as error:
                refused += str(error).isprintable()
    assert 100 < refused < 900


def test_a_folder_gives_the_same_pixels_as_its_images_one_by_one(tmp_path):
    for number, image in enumerate(bars(3)[0]):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    done = transfer(Mirror(), tmp_path, tmp_path / "out")
    for path, made in zip(find_images(tmp_path)[:3], done.written, strict=True):
        assert torch.equal(from_pil(read_image(made), 16), from_pil(read_image(path), 16))
