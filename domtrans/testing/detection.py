"""Checks of detectors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from domtrans.testing.contracts import examine, seeded

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

SIZES = (16, 64)
THREADS = 4


def check_detector(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a detector against its contracts: ``check_detector(registry, "mine", images=[photo])``.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the detector. ``images``, RGB PIL images, is not an option: it replaces the example images, in
            which a detector will find nothing.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("detector", where, name, options, ("images",))
    images = subject.arguments.get("images", example_photographs())
    detect = subject.build()

    def detections(image: Image.Image, size: int, seed: int = 0) -> list[Image.Image]:
        with subject.works("detector-crops", f"it is called with an image of {image.width} x {image.height} pixels"):
            crops = seeded(seed, lambda: list(detect(image, size)))
        for crop in crops:
            fits = isinstance(crop, Image.Image) and (crop.mode, crop.size) == ("RGB", (size, size))
            subject.require(fits, "detector-crops", f"for {size} pixels, it returns {crop!r}")
        return crops

    for image in images:
        before = image.tobytes()
        for size in SIZES:
            first = detections(image, size)
            subject.require(image.tobytes() == before, "detector-harmless", "it changes the image")
            again = detections(image, size, seed=1)
            subject.require(_pixels(again) == _pixels(first), "detector-deterministic", "two calls give different results")
            with ThreadPoolExecutor(THREADS) as pool, subject.works("detector-deterministic", "several threads call it"):
                results = list(pool.map(lambda size: _pixels(list(detect(image, size))), [size] * THREADS))  # noqa: B023
            same = all(result == _pixels(first) for result in results)
            subject.require(same, "detector-deterministic", "calls from several threads at once give different results")


def example_photographs() -> list[Image.Image]:
    """RGB images of several sizes without any object: noise, one colour, and one of 3 x 2 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return [Image.fromarray(noise), Image.new("RGB", (100, 40), (90, 120, 150)), Image.new("RGB", (3, 2))]


def _pixels(crops: list[Image.Image]) -> list[bytes]:
    return [crop.tobytes() for crop in crops]
