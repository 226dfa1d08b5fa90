"""Alignment of faces by five landmarks, alone and as an option of a domain."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from domtrans import DomtransError, load_domain, use
from domtrans_faces.domains.alignment import TEMPLATE, align, similarity
from tiny import registry

PEOPLE = [f"Person {number:02d}" for number in range(20)]


def domain(path, size=16, **options):
    return load_domain(registry(), use("lfw", path=str(path), **options), "train", size)


FACE = TEMPLATE * 1.7 + [40, 25]


def marked(points, size=(300, 280)):
    """An image with a white dot at every landmark."""
    image = Image.new("RGB", size, "black")
    for x, y in points:
        ImageDraw.Draw(image).ellipse((x - 4, y - 4, x + 4, y + 4), fill="white")
    return image


def turned(points, degrees):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - points.mean(0)) @ turn.T + points.mean(0)


@pytest.mark.parametrize("degrees", [0, 25, -40])
@pytest.mark.parametrize("side", [112, 64])
def test_landmarks_match_the_template(degrees, side):
    points = turned(FACE, degrees)
    aligned = np.asarray(align(marked(points), points, side).convert("L")).astype(float)
    assert aligned.shape == (side, side)
    for x, y in TEMPLATE * side / 112:
        assert aligned[round(y), round(x)] > 150, "white where the template has a landmark"
    assert aligned.mean() < 40


def test_similarity_is_exact_or_least_squares():
    points = np.random.default_rng(0).normal(size=(5, 2))
    wanted = turned(points * 2.5, 30) + np.array([3, -4])
    transform = similarity(points, wanted)
    assert np.allclose(points @ transform[:, :2].T + transform[:, 2], wanted)
    no_shear = np.isclose(transform[0, 0], transform[1, 1]) and np.isclose(transform[0, 1], -transform[1, 0])
    assert no_shear, "no shear, no reflection"
    moved = wanted + np.random.default_rng(1).normal(scale=0.1, size=(5, 2))
    best = similarity(points, moved)

    def error(matrix):
        return ((points @ matrix[:, :2].T + matrix[:, 2] - moved) ** 2).sum()

    for a, b, x, y in 1e-2 * np.random.default_rng(2).normal(size=(20, 4)):
        assert error(best) <= error(best + np.array([[a, -b, x], [b, a, y]])), "no other similarity is nearer"


@pytest.mark.parametrize("form", ["{name} {numbers}\n", "{name},{commas}\n"])
def test_a_file_of_landmarks_aligns_a_domain(tmp_path, form):
    lines = "5\nname lefteye_x lefteye_y\n"
    for number, person in enumerate(PEOPLE):
        points = turned(FACE, 10 * number - 100)
        (tmp_path / "photos" / person).mkdir(parents=True)
        marked(points).save(tmp_path / "photos" / person / f"{number}.png")
        numbers = [f"{value:.2f}" for value in points.ravel()]
        lines += form.format(name=f"{number}.png", numbers=" ".join(numbers), commas=",".join(numbers))
    (tmp_path / "landmarks.txt").write_text(lines)
    found = domain(tmp_path / "photos", size=112, landmarks=str(tmp_path / "landmarks.txt"))
    spots = TEMPLATE.round().astype(int)
    assert (found.images[:, 0, spots[:, 1], spots[:, 0]] > 150).all()
    closer = domain(tmp_path / "photos", size=56, crop=0.5, landmarks=str(tmp_path / "landmarks.txt"))
    assert closer.images.shape[2:] == (56, 56)
    assert (closer.images[:, 0, 72 - 28, 56 - 28] > 150).all(), "the nose, in the middle half of the aligned face"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "has no landmarks"),
        ("0.png 1 2 3\n", "has no landmarks"),
        ("0.png 1 2 3 4 5 6 7 8 9 nan\n", "has no landmarks"),
        ("other.png 1 2 3 4 5 6 7 8 9 10\n", "there are no landmarks for"),
    ],
)
def test_unusable_landmarks_are_a_clear_error(tmp_path, content, words):
    if content is not None:
        (tmp_path / "landmarks.txt").write_text(content)
    for person in PEOPLE:
        (tmp_path / "photos" / person).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "photos" / person / "0.png")
    with pytest.raises(DomtransError, match=words):
        domain(tmp_path / "photos", landmarks=str(tmp_path / "landmarks.txt"))
