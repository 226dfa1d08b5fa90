"""Existing files: a transfer replaces what domtrans wrote, and nothing else unless it is told to."""

import numpy as np
import pytest
from PIL import Image

from domtrans import DomtransError, transfer
from image_folders import Mirror, animate, colour_of, names, opened, photo

MARKED = ["png", "jpg", "webp", "gif", "tif", "avif", "jp2"]


def transferred(*args, **options):
    return transfer(Mirror(), *args, **options)


def test_a_foreign_file_is_replaced_only_with_force(tmp_path):
    """``transfer RUN a.jpg b.jpg`` with the output forgotten must not destroy b.jpg."""
    photo(tmp_path / "a.jpg")
    before = photo(tmp_path / "b.jpg", "blue").read_bytes()
    with pytest.raises(DomtransError, match=r"the output .*b.jpg exists and was not written by domtrans; .*--force"):
        transferred(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == before
    assert transferred(tmp_path / "a.jpg", tmp_path / "b.jpg", skip_existing=True).skipped == (tmp_path / "b.jpg",)
    assert (tmp_path / "b.jpg").read_bytes() == before
    transferred(tmp_path / "a.jpg", tmp_path / "b.jpg", force=True)
    assert colour_of(tmp_path / "b.jpg")[0] > 240


@pytest.mark.parametrize("suffix", MARKED)
def test_what_domtrans_wrote_is_replaced(tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    transferred(photo(tmp_path / "a.png"), out)
    transferred(photo(tmp_path / "b.png", "lime"), out)
    red, green, blue = colour_of(out)
    assert red < 15 and green > 240 and blue < 15


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "avif"])
def test_an_animation_that_domtrans_wrote_is_replaced(tmp_path, suffix):
    for _ in range(2):
        transferred(animate(tmp_path / "a.gif"), tmp_path / f"out.{suffix}")


def test_a_video_that_domtrans_wrote_is_replaced_and_another_is_not(tmp_path):
    av = pytest.importorskip("av", reason="videos need PyAV")
    for suffix in ("mp4", "m4v", "mov", "mkv", "webm"):
        for _ in range(2):
            transferred(animate(tmp_path / "a.gif"), tmp_path / f"out.{suffix}")
        foreign = tmp_path / f"foreign.{suffix}"
        with av.open(str(foreign), "w") as container:
            stream = container.add_stream("libvpx-vp9" if suffix == "webm" else "libx264", rate=10)
            stream.width = stream.height = 16
            stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (16, 16)))))
            container.mux(stream.encode())
        with pytest.raises(DomtransError, match="was not written by domtrans"):
            transferred(tmp_path / "a.gif", foreign)


@pytest.mark.parametrize("suffix", MARKED)
def test_the_mark_leaves_the_pixels_alone(tmp_path, suffix):
    source = photo(tmp_path / "a.png", size=(16, 16))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(source)
    transferred(source, tmp_path / f"out.{suffix}")
    plain = tmp_path / f"plain.{suffix}"
    options = {"jpg": {"quality": 95}, "webp": {"lossless": True}, "avif": {"quality": 95}}.get(suffix, {})
    Image.fromarray(pixels).save(plain, **options)
    assert opened(tmp_path / f"out.{suffix}").convert("RGB").tobytes() == opened(plain).convert("RGB").tobytes()


def test_a_folder_is_transferred_again_into_its_own_output(tmp_path):
    for name in ("a.jpg", "deep/b.png", "c.gif"):
        photo(tmp_path / "in" / name)
    for options in ({"sheet": tmp_path / "sheet.png"}, {"sheet": tmp_path / "sheet.png"}, {"part": (0, 2)}, {"part": (1, 2)}):
        transferred(tmp_path / "in", tmp_path / "out", **options)
    photo(tmp_path / "in" / "d.png")
    assert len(transferred(tmp_path / "in", tmp_path / "out").written) == 4


@pytest.mark.parametrize("pattern", ["", "*", "*.*[gG]"])
def test_outputs_in_the_folder_of_the_inputs_are_no_inputs(tmp_path, pattern):
    folder = tmp_path / "in"
    for name in ("a.jpg", "UPPER.JPG", "deep/b.png", "deep/b.jpg"):
        photo(folder / name)
    source = folder / pattern if pattern else folder
    first = transferred(source, folder)
    before = names(folder)
    for options in ({"skip_existing": True}, {"skip_existing": True}, {}):
        again = transferred(source, folder, **options)
        assert len(again.written or again.skipped) == len(first.written) and names(folder) == before
        assert {file.reason for file in again.passed_over} == {"output of an earlier transfer into this folder"}
    named = transferred([folder / "a.jpg", folder / "a.png", folder / "UPPER.JPG"], folder, skip_existing=True)
    assert [file.path.name for file in named.passed_over] == ["a.png"] and not named.written
    with pytest.raises(DomtransError, match=r"there are no images in .*2 outputs of earlier transfers into this folder"):
        transferred([folder / "a.png", folder / "UPPER.png"], folder)


def test_a_folder_with_foreign_files_is_refused_before_anything_is_written(tmp_path):
    for number in range(4):
        photo(tmp_path / "in" / f"{number}.jpg")
    for name in ("1.png", "3.png"):
        photo(tmp_path / "out" / name)
    for part in ((0, 1), (0, 2), (1, 2)):
        with pytest.raises(DomtransError, match=r"the output .*1.png and 1 more exist and were not written by domtrans"):
            transferred(tmp_path / "in", tmp_path / "out", part=part)
    assert names(tmp_path / "out") == ["1.png", "3.png"]
    assert len(transferred(tmp_path / "in", tmp_path / "out", skip_existing=True).written) == 2


def test_a_foreign_contact_sheet_is_not_replaced(tmp_path):
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "sheet.png")
    for options in ({}, {"skip_existing": True}):
        with pytest.raises(DomtransError, match=r"sheet\.png exists and was not written by domtrans"):
            transferred(tmp_path / "in", tmp_path / "out", sheet=tmp_path / "sheet.png", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"notes", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_foreign(tmp_path, content):
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(DomtransError, match="was not written by domtrans"):
        transferred(tmp_path / "a.png", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == content


def test_a_format_without_a_place_for_the_mark_needs_force(tmp_path):
    photo(tmp_path / "a.png")
    transferred(tmp_path / "a.png", tmp_path / "b.bmp")
    with pytest.raises(DomtransError, match="was not written by domtrans"):
        transferred(tmp_path / "a.png", tmp_path / "b.bmp")
    transferred(tmp_path / "a.png", tmp_path / "b.bmp", force=True)


@pytest.mark.parametrize("source", ["in", "in/*.jpg"])
@pytest.mark.parametrize("name", ["x.png", "x.mp4", "deep/x.JPG"])
def test_the_output_for_a_folder_has_no_image_file_s_name(tmp_path, source, name):
    photo(tmp_path / "in" / "a.jpg")
    with pytest.raises(DomtransError, match="has the name of an image file; several images need a folder"):
        transferred(tmp_path / source, tmp_path / name)
    assert names(tmp_path) == ["in/a.jpg"]
    (tmp_path / name).mkdir(parents=True)
    assert len(transferred(tmp_path / source, tmp_path / name).written) == 1, "a folder of that name may exist"


def test_a_name_without_a_suffix_is_a_new_folder(tmp_path):
    """``transfer RUN photo.jpg avatars/ --crop faces`` works before there is such a folder."""
    transferred(photo(tmp_path / "a.jpg"), tmp_path / "new" / "deep")
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["a.png"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DomtransError, match="does not end in the suffix"):
        transferred(tmp_path / "a.jpg", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
