"""Align faces by five landmarks, as in the training data of face recognisers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans import DomtransError, decode_text

Points = npt.NDArray[np.float64]
"""[5, 2]: x and y, in pixels, of the eyes, the tip of the nose and the corners of the mouth, each pair left to right."""

TEMPLATE_SIDE = 112
TEMPLATE: Points = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Positions in ArcFace's 112 x 112 pixels (Deng et al., CVPR 2019); SphereFace uses the middle 96 columns."""


def align(image: Image.Image, points: Points, side: int) -> Image.Image:
    """Rotate, scale and shift a face so that its landmarks match the template; ``side`` x ``side`` pixels.

    Parts outside the image are black.
    """
    half = 0.5  # landmarks are relative to the centre of the first pixel, Pillow's coordinates to its corner
    transform = similarity((TEMPLATE + half) * side / TEMPLATE_SIDE, points + half)
    oversampling = max(1, math.ceil(math.hypot(transform[0, 0], transform[1, 0])))  # image pixels per output pixel
    transform[:, :2] /= oversampling
    size = (side * oversampling,) * 2
    large = image.transform(size, Image.Transform.AFFINE, tuple(transform.ravel()), Image.Resampling.BICUBIC)
    return large.reduce(oversampling)


def similarity(points: Points, wanted: Points) -> Points:
    """The similarity transform [2, 3] that maps points [N, 2] to the wanted ones, in least squares.

    Umeyama, IEEE PAMI 1991, without reflections; it is linear in four parameters.
    """
    x, y, ones, zeros = points[:, 0], points[:, 1], np.ones(len(points)), np.zeros(len(points))
    rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    (a, b, right, down), *_ = np.linalg.lstsq(rows, wanted.T.ravel(), rcond=None)
    return np.array([[a, -b, right], [b, a, down]])


def read_landmarks(path: Path) -> Mapping[str, Points]:
    """Landmarks by image name.

    The file has one line per image: its name and ten numbers, x and y in turn, separated by spaces, commas or tabs, like
    CelebA's list_landmarks_align_celeba.txt.

    Raises:
        DomtransError: If the file cannot be read or has no landmarks.
    """
    try:
        lines = decode_text(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DomtransError(f"the landmarks {path} cannot be read: {error}") from None
    landmarks = {}
    for line in lines:
        name, *numbers = line.replace(",", " ").split() or [""]
        try:
            points = np.array(numbers, np.float64).reshape(5, 2)
        except ValueError:
            continue  # a header line
        if np.isfinite(points).all():
            landmarks[name] = points
    if not landmarks:
        raise DomtransError(f"{path} has no landmarks: it needs one line per image with its name and five pairs of x and y")
    return landmarks


def landmarks_of(name: str, landmarks: Mapping[str, Points]) -> Points:
    """The landmarks of an image, by its path or file name; DomtransError if there are none."""
    for key in (name, name.rpartition("/")[2]):
        if key in landmarks:
            return landmarks[key]
    raise DomtransError(
        f"there are no landmarks for {name}; without the option landmarks, the image is cropped around its centre"
    )
