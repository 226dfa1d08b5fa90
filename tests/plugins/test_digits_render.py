"""House-number rendering: shapes, determinism, fonts and legibility."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from domtrans.errors import DomtransError
from domtrans_digits.domains.rendering import TEST_FONTS, TRAIN_FONTS, render_digits


@pytest.fixture(scope="module")
def rendered() -> tuple[np.ndarray, np.ndarray]:
    return render_digits(700, seed=7, fonts=TRAIN_FONTS)


def test_images_and_labels_have_the_documented_form(rendered):
    images, labels = rendered
    assert images.shape == (700, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (700,) and labels.dtype == np.int64
    assert images.min() < 10 and images.max() > 245


def test_each_block_of_250_is_balanced(rendered):
    labels = rendered[1]
    for start in (0, 250):
        assert np.bincount(labels[start : start + 250], minlength=10).tolist() == [25] * 10
    assert not np.array_equal(labels[:250], labels[250:500])


@pytest.mark.parametrize("count", [1, 10, 250, 251])
def test_an_image_depends_on_seed_and_index_only(rendered, count):
    images, labels = render_digits(count, seed=7, fonts=TRAIN_FONTS)
    assert np.array_equal(images, rendered[0][:count])
    assert np.array_equal(labels, rendered[1][:count])


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(rendered, workers):
    images, labels = render_digits(700, seed=7, fonts=list(TRAIN_FONTS), workers=workers)
    assert np.array_equal(images, rendered[0]) and np.array_equal(labels, rendered[1])


def test_other_seeds_and_other_blocks_give_other_images(rendered):
    images = rendered[0].reshape(700, -1)
    other, _ = render_digits(250, seed=8, fonts=TRAIN_FONTS)
    assert (other.reshape(250, -1) != images[:250]).any(axis=1).all()
    assert len(np.unique(images, axis=0)) == 700


def test_train_and_test_fonts_exist_and_are_disjoint():
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    assert all((folder / name).is_file() for name in TRAIN_FONTS + TEST_FONTS)
    assert len(set(TRAIN_FONTS + TEST_FONTS)) == len(TRAIN_FONTS) + len(TEST_FONTS)
    assert len(TRAIN_FONTS) >= 12 and len(TEST_FONTS) >= 4


@pytest.mark.parametrize("font", TRAIN_FONTS + TEST_FONTS)
def test_digits_of_every_font_have_contrast(font):
    images, _ = render_digits(250, seed=1, fonts=[font])
    spread = images.mean(axis=3).std(axis=(1, 2))
    assert spread.min() > 5 and np.median(spread) > 18


def test_digits_are_brighter_or_darker_than_their_background(rendered):
    """In a "1", the middle columns are mostly ink and the columns beside them mostly background."""
    images, labels = rendered
    luma = images[labels == 1].mean(axis=3)
    contrast = luma[:, 12:20, 15:17].mean(axis=(1, 2)) - luma[:, 8:24, [8, 9, 22, 23]].mean(axis=(1, 2))
    assert (contrast > 15).mean() > 0.2 and (contrast < -15).mean() > 0.2


def test_fonts_may_be_given_as_paths():
    name = TEST_FONTS[0]
    path = str(Path(matplotlib.get_data_path(), "fonts", "ttf", name))
    by_path, by_name = (render_digits(5, seed=0, fonts=[font])[0] for font in (path, name))
    assert np.array_equal(by_path, by_name)


def test_a_nearest_neighbour_classifier_agrees_with_the_labels():
    images, labels = render_digits(5000, seed=3, fonts=TRAIN_FONTS)
    centre = images.mean(axis=3)[:, 4:28, 6:26].reshape(5000, -1)
    # Brightness, contrast and polarity are random, so compare by absolute correlation.
    centre = centre - centre.mean(axis=1, keepdims=True)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    known, unknown = centre[:4000], centre[4000:]
    nearest = labels[:4000][np.abs(unknown @ known.T).argmax(axis=1)]
    assert (nearest == labels[4000:]).mean() > 0.8


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (0, {}),
        (5, {"fonts": []}),
        (5, {"fonts": "cmr10.ttf"}),
        (5, {"fonts": ["no-such-font.ttf"]}),
        (5, {"seed": -1}),
        (5, {"workers": 0}),
    ],
)
def test_wrong_arguments_are_refused(count, options):
    with pytest.raises(DomtransError):
        render_digits(count, **{"seed": 0, "fonts": TRAIN_FONTS, **options})
