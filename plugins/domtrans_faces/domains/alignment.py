"""Faces brought to one place and size by five landmarks, as recognisers are trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans import DomtransError

Points = npt.NDArray[np.float64]
"""[5, 2]: x and y in pixels of the eyes, the tip of the nose and the corners of the mouth, each pair left to right."""

TEMPLATE_SIDE = 112
TEMPLATE: Points = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where ArcFace (Deng et al., CVPR 2019) has them in 112 x 112 pixels; SphereFace's 96 x 112 is the middle of it."""


def align(image: Image.Image, points: Points, side: int) -> Image.Image:
    """The face turned, scaled and shifted so that its landmarks fall on the template's, ``side`` x ``side`` pixels.

    Black where the template reaches beyond the image.
    """
    middle = 0.5  # landmarks count from the middle of the first pixel, Pillow from its corner
    there = similarity((TEMPLATE + middle) * side / TEMPLATE_SIDE, points + middle)
    finer = max(1, math.ceil(math.hypot(there[0, 0], there[1, 0])))  # pixels of the image in one of the result
    there[:, :2] /= finer
    large = image.transform((side * finer,) * 2, Image.Transform.AFFINE, tuple(there.ravel()), Image.Resampling.BICUBIC)
    return large.reduce(finer)


def similarity(points: Points, wanted: Points) -> Points:
    """The rotation, scaling and shift [2, 3] that brings points [N, 2] as near as can be to others, in least squares.

    (Umeyama, IEEE PAMI 1991, without reflections: linear in its four numbers.)
    """
    x, y, one, zero = points[:, 0], points[:, 1], np.ones(len(points)), np.zeros(len(points))
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    (a, b, right, down), *_ = np.linalg.lstsq(rows, wanted.T.ravel(), rcond=None)
    return np.array([[a, -b, right], [b, a, down]])


def read_landmarks(path: Path) -> Mapping[str, Points]:
    """Five points for every picture, by its name as the file has it.

    The file has a line for each: the name and ten numbers, x and y in turn, with spaces, commas or tabs between; CelebA's
    list_landmarks_align_celeba.txt is one. Raises DomtransError for a file that is missing or has none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DomtransError(f"the landmarks {path} cannot be read: {error}") from None
    found = {}
    for line in lines:
        name, *numbers = line.replace(",", " ").split() or [""]
        try:
            points = np.array(numbers, np.float64).reshape(5, 2)
        except ValueError:
            continue  # a heading
        if np.isfinite(points).all():
            found[name] = points
    if not found:
        raise DomtransError(f"{path} holds no landmarks: it needs a line for each picture, its name and x and y five times")
    return found


def landmarks_of(name: str, known: Mapping[str, Points]) -> Points:
    """The landmarks of a picture, by its path or by its file name alone; DomtransError if there are none."""
    for word in (name, name.rpartition("/")[2]):
        if word in known:
            return known[word]
    raise DomtransError(f"there are no landmarks of {name}; leave the option landmarks out to crop around the middle instead")
