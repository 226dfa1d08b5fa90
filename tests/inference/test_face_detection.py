"""Faces in ordinary photographs: found, turned upright, and each transferred by itself."""

import importlib.util
import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from domtrans import DomtransError, transfer
from domtrans.inference import face_detection as facefinding
from image_folders import Mirror, animate, colour_of, names, opened, photo
from paths import SHARED

LFW = SHARED / "data" / "lfw" / "lfw_480ids_160px.zip"


def halves(image, side):
    """Stands in for the search: a face on either half, none on a dark picture."""
    if np.asarray(image).max() < 50:
        return []
    width, height = image.size
    return [image.crop((left, 0, left + width // 2, height)).resize((side, side)) for left in (0, width // 2)]


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A photograph with a red and a blue face."""
    monkeypatch.setattr("domtrans.inference.pipeline.find_faces", halves)
    path = photo(tmp_path / "in" / "both.jpg", "red", (80, 40))
    with Image.open(path) as image:
        image = image.copy()
    image.paste((0, 0, 255), (40, 0, 80, 40))
    image.save(path, quality=100)
    return path


def test_every_face_and_a_sheet_of_them(two, tmp_path):
    photo(tmp_path / "in" / "dark.png", "black")
    animate(tmp_path / "in" / "moves.gif")
    done = transfer(Mirror(), tmp_path / "in", tmp_path / "out", faces=True, size=24)
    made = ["both-1.png", "both-2.png", "both.png", "moves-1.png", "moves-2.png", "moves.png"]
    assert names(tmp_path / "out") == made and [path.name for path in done.written] == made
    assert [path.name for path, _ in done.failed] == ["dark.png"] and "no face was found" in done.failed[0][1]
    red, blue = (opened(tmp_path / "out" / f"both-{number}.png") for number in (1, 2))
    assert red.size == blue.size == (24, 24)
    assert red.getpixel((9, 9))[0] > 240 > 15 > red.getpixel((9, 9))[2] and blue.getpixel((9, 9))[2] > 240
    sheet = opened(tmp_path / "out" / "both.png")
    assert min(sheet.size) > 2 * 2 * 16, "two faces in a row, each above what it became"


def test_done_photographs_are_skipped_and_one_that_was_cut_short_is_not(two, tmp_path):
    transfer(Mirror(), tmp_path / "in", tmp_path / "out", faces=True)
    assert len(transfer(Mirror(), tmp_path / "in", tmp_path / "out", faces=True, skip_existing=True).skipped) == 1
    (tmp_path / "out" / "both.png").unlink()
    assert len(transfer(Mirror(), tmp_path / "in", tmp_path / "out", faces=True, skip_existing=True).written) == 3


def test_no_face_is_written_over_a_picture_that_is_to_be_read(two, tmp_path):
    photo(tmp_path / "in" / "both-2.png", "lime")
    with pytest.raises(DomtransError, match="written over a picture"):
        transfer(Mirror(), [two, tmp_path / "in" / "both-2.png"], tmp_path / "in", faces=True)
    assert colour_of(tmp_path / "in" / "both-2.png") == (0, 255, 0)
    with pytest.raises(DomtransError, match="several pictures, such as faces, need names"):
        transfer(Mirror(), two, io.BytesIO(), faces=True)


def test_without_the_library_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DomtransError, match=r"needs the library dlib.*pip install 'domtrans\[faces\]'"):
        transfer(Mirror(), photo(tmp_path / "a.png"), tmp_path / "b.png", faces=True)


@pytest.fixture
def people():
    """Photographs of four people."""
    if not all(map(importlib.util.find_spec, ("dlib", "face_recognition_models"))):
        pytest.skip("the extra faces is not installed")
    if not LFW.is_file():
        pytest.skip("the photographs in ../shared/data/lfw are not there")
    with zipfile.ZipFile(LFW) as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::700][:4]
        return [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in members]


def test_real_faces_are_found_and_brought_upright(people, tmp_path):
    crowd = Image.new("RGB", (1100, 700), (90, 120, 150))
    for number, (person, degrees) in enumerate(zip(people, (0, 20, -20, 0), strict=True)):
        side = 240 if number % 2 else 200
        turned = person.resize((side, side), Image.Resampling.BICUBIC).rotate(degrees, Image.Resampling.BICUBIC)
        crowd.paste(turned, (30 + 260 * number, 60 + 90 * number))
    crowd.save(tmp_path / "crowd.jpg", quality=95)
    done = transfer(Mirror(), tmp_path / "crowd.jpg", tmp_path / "out.png", faces=True, size=128)
    assert [path.name for path in done.written] == ["out-1.png", "out-2.png", "out-3.png", "out-4.png", "out.png"]
    chips = facefinding.find_faces(crowd, 128)
    for chip, person in zip(chips, people, strict=True):
        points = eyes(chip)
        assert abs(points[0, 1] - points[1, 1]) < 6, "the eyes are level"
        assert 0.33 * 128 < points[:, 1].mean() < 0.45 * 128 and 0.4 * 128 < points[:, 0].mean() < 0.6 * 128
        alike = correlation(chip, facefinding.find_faces(person.resize((240, 240)), 128)[0])
        assert alike > 0.9, "whichever way it was turned"


def eyes(chip):
    """x and y of the eyes of the only face in a chip."""
    pixels = np.asarray(chip.resize((256, 256)))
    (box,) = facefinding._detector()(pixels, 0)
    points = np.array([(point.x, point.y) for point in facefinding._landmarks()(pixels, box).parts()]) / 2
    return np.stack([points[:2].mean(0), points[2:4].mean(0)])


def correlation(one, other):
    middles = [np.asarray(chip.crop((24, 24, 104, 104)), float).ravel() for chip in (one, other)]
    return np.corrcoef(*middles)[0, 1]
