"""Detectors: every object in an image is cropped and transferred by itself."""

import io

import numpy as np
import pytest
from PIL import Image

from domtrans import DomtransError, Registry, transfer, use
from image_folders import Mirror, animate, colour_of, names, opened, photo


def halves(image, size, *, darkest: int = 50):
    """Both halves of an image that is not darker than ``darkest``."""
    if np.asarray(image).max() < darkest:
        return []
    width, height = image.size
    return [image.crop((left, 0, left + width // 2, height)).resize((size, size)) for left in (0, width // 2)]


@pytest.fixture
def registry():
    """Where "halves" is a detector."""
    found = Registry()
    found.detector("halves", halves)
    return found


@pytest.fixture
def two(tmp_path):
    """A photograph with a red and a blue half."""
    path = photo(tmp_path / "in" / "both.jpg", "red", (80, 40))
    with Image.open(path) as image:
        image = image.copy()
    image.paste((0, 0, 255), (40, 0, 80, 40))
    image.save(path, quality=100)
    return path


def cropped(*args, registry, crop="halves", **options):
    return transfer(Mirror(), *args, crop=crop, registry=registry, **options)


def test_every_crop_and_an_overview(two, tmp_path, registry):
    photo(tmp_path / "in" / "dark.png", "black")
    animate(tmp_path / "in" / "moves.gif")
    done = cropped(tmp_path / "in", tmp_path / "out", registry=registry, size=24)
    made = ["both-1.png", "both-2.png", "both.png", "moves-1.png", "moves-2.png", "moves.png"]
    assert names(tmp_path / "out") == made and [path.name for path in done.written] == made
    assert [path.name for path, _ in done.failed] == ["dark.png"]
    assert "the detector 'halves' found nothing in" in done.failed[0][1]
    red, blue = (opened(tmp_path / "out" / f"both-{number}.png") for number in (1, 2))
    assert red.size == blue.size == (24, 24)
    assert red.getpixel((9, 9))[0] > 240 > 15 > red.getpixel((9, 9))[2] and blue.getpixel((9, 9))[2] > 240
    sheet = opened(tmp_path / "out" / "both.png")
    assert min(sheet.size) > 2 * 2 * 16, "two crops in a row, each above its output"


def test_a_detector_with_options(two, tmp_path, registry):
    with pytest.raises(DomtransError, match=r"the detector 'halves\(darkest=256\)' found nothing"):
        cropped(two, tmp_path / "out.png", registry=registry, crop=use("halves", darkest=256))


def test_finished_photographs_are_skipped_and_one_that_was_cut_short_is_not(two, tmp_path, registry):
    cropped(tmp_path / "in", tmp_path / "out", registry=registry)
    assert len(cropped(tmp_path / "in", tmp_path / "out", registry=registry, skip_existing=True).skipped) == 1
    (tmp_path / "out" / "both.png").unlink()
    assert len(cropped(tmp_path / "in", tmp_path / "out", registry=registry, skip_existing=True).written) == 3


def test_no_crop_replaces_an_input(two, tmp_path, registry):
    photo(tmp_path / "in" / "both-2.png", "lime")
    with pytest.raises(DomtransError, match="would replace an image"):
        cropped([two, tmp_path / "in" / "both-2.png"], tmp_path / "in", registry=registry)
    assert colour_of(tmp_path / "in" / "both-2.png") == (0, 255, 0)
    with pytest.raises(DomtransError, match="crops need file names"):
        cropped(two, io.BytesIO(), registry=registry)


def test_no_crop_replaces_a_file_that_domtrans_did_not_write(two, tmp_path, registry):
    photo(tmp_path / "out" / "both-2.png", "lime")
    photo(tmp_path / "in" / "other.jpg")
    done = cropped(tmp_path / "in", tmp_path / "out", registry=registry)
    assert names(tmp_path / "out") == ["both-2.png", "other-1.png", "other-2.png", "other.png"], (
        "all of a photograph or nothing"
    )
    ((path, reason),) = done.failed
    assert path == two and "both-2.png exists and was not written by domtrans" in reason
    assert len(cropped(tmp_path / "in", tmp_path / "out", registry=registry, force=True).written) == 6
    assert colour_of(tmp_path / "out" / "both-2.png") != (0, 255, 0)
    assert len(cropped(tmp_path / "in", tmp_path / "out", registry=registry).written) == 6


def test_an_unknown_detector_is_refused_with_those_that_there_are(two, tmp_path, registry):
    with pytest.raises(DomtransError, match=r"there is no detector 'halfs'.*did you mean 'halves'"):
        cropped(two, tmp_path / "out.png", registry=registry, crop="halfs")


def test_faces_is_the_old_name_of_the_detector_of_that_name(two, tmp_path, registry):
    registry.detector("faces", halves)
    with pytest.warns(DeprecationWarning, match='crop="faces"'):
        done = transfer(Mirror(), two, tmp_path / "out.png", faces=True, registry=registry)
    assert [path.name for path in done.written] == ["out-1.png", "out-2.png", "out.png"]
