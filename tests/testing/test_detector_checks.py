"""check_detector: it passes sound detectors and names the contract that a broken one violates."""

import itertools

import numpy as np
import pytest
from PIL import Image

from domtrans.testing import check_detector


def halves(image, size):
    """The left and the right half."""
    half = image.width // 2
    return [image.crop((left, 0, left + half, image.height)).resize((size, size)) for left in (0, half)]


class Corner:
    """The upper left corner.

    ``share``: of each side.
    """

    def __init__(self, *, share: float = 0.5) -> None:
        self.share = share

    def __call__(self, image, size):
        return [
            image.crop((0, 0, int(image.width * self.share) or 1, int(image.height * self.share) or 1)).resize((size, size))
        ]


def nothing(image, size):
    """Detects nothing."""
    return []


@pytest.mark.parametrize("detector", [halves, Corner, nothing])
def test_sound_detectors_pass(detector):
    check_detector(detector)


def test_options_and_images_are_passed_on():
    check_detector(Corner, share=0.2, images=[Image.new("RGB", (30, 20), "red")])


def whole(image, size):
    """Crops of the image's own size."""
    return [image.copy()]


def grey(image, size):
    """Crops without colours."""
    return [crop.convert("L") for crop in halves(image, size)]


def failing(image, size):
    """Fails on some images."""
    raise ZeroDivisionError("an empty box")


def noisy(image, size):
    """Crops of noise from numpy's global generator."""
    return [Image.fromarray(np.random.randint(0, 256, (size, size, 3), dtype=np.uint8))]


def scribbling(image, size):
    """Draws on the image that it was given."""
    image.paste((1, 2, 3), (0, 0, 1, 1))
    return []


CALLS = itertools.count()


def counting(image, size):
    """Gives something else each time."""
    return [Image.new("RGB", (size, size), (next(CALLS) % 256, 0, 0))]


@pytest.mark.parametrize(
    ("detector", "contract"),
    [
        (whole, "detector-crops"),
        (grey, "detector-crops"),
        (failing, "detector-crops"),
        (noisy, "detector-deterministic"),
        (counting, "detector-deterministic"),
        (scribbling, "detector-harmless"),
    ],
)
def test_a_broken_detector_is_named_with_its_contract(detector, contract):
    with pytest.raises(AssertionError, match=f"#{contract}"):
        check_detector(detector)
