"""Images inside a page, as data URLs within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from domtrans.data.image_files import read_image, to_pil
from domtrans.errors import DomtransError
from domtrans.runs.examples import IMAGE_TENSORS, Examples
from domtrans.runs.examples import MAX_SIDE as MAX_EXAMPLE_SIDE

GRID_BYTES, EXAMPLE_BYTES = 2_000_000, 1_000_000
"""All sample grids, and all examples, of a page; approximately."""
MAX_GRIDS, MIN_GRIDS = 24, 6
"""Sample grids of a single run, and of each of many runs."""
MAX_SIDE, MIN_SIDE = 1280, 32
"""The longer side of an image, in pixels; images are not shrunk below the minimum."""


def sample_grids(samples: Mapping[int, Path], runs: int) -> dict[int, str]:
    """Sample grids of a run as data URLs, by step, evenly spread over the training. Damaged files are left out.

    Args:
        samples: The files, by step.
        runs: The number of runs on the page.
    """
    count = max(MIN_GRIDS, MAX_GRIDS // runs)
    steps = list(samples)
    if len(steps) > count:
        steps = [steps[round(k * (len(steps) - 1) / (count - 1))] for k in range(count)]
    grids = {}
    for step in steps:
        try:
            grids[step] = data_url(read_image(samples[step]), GRID_BYTES // runs // len(steps))
        except DomtransError:
            continue
    return grids


def example_images(examples: Examples, runs: int) -> list[dict[str, str]]:
    """Every example of a run as data URLs: x, G(x) and the nearest real image, by the names of the fields."""
    budget = EXAMPLE_BYTES // runs // (len(IMAGE_TENSORS) * max(len(examples.labels), 1))
    columns = {name: [data_url(image, budget) for image in to_pil(getattr(examples, name))] for name in IMAGE_TENSORS}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def data_url(image: Image.Image, max_bytes: int) -> str:
    """An image as a data URL: a small one exactly, as PNG; others as JPEG, shrunk until they fit into ``max_bytes``."""
    image = image.convert("RGB")
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    as_png = max(image.size) <= MAX_EXAMPLE_SIDE
    while True:
        buffer = io.BytesIO()
        if as_png:
            image.save(buffer, "PNG")
        else:
            image.save(buffer, "JPEG", quality=85, subsampling=0)
        if buffer.tell() <= max_bytes or max(image.size) <= MIN_SIDE:
            format = "png" if as_png else "jpeg"
            return f"data:image/{format};base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if not as_png:
            scale = min(0.9, (max_bytes / buffer.tell()) ** 0.5)
            image.thumbnail((int(image.width * scale) or 1, int(image.height * scale) or 1))
        as_png = False
