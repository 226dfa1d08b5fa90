"""Pictures inside a page: as data, and never more of them than the page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from domtrans.data.image_files import read_image, to_pil
from domtrans.errors import DomtransError
from domtrans.runs.examples import IMAGE_TENSORS, MAX_SIDE, Examples

GRIDS, MOST_GRIDS, FEWEST_GRIDS = 2_000_000, 24, 6
"""Bytes of all sample grids of a page, about; how many there are of one run, from alone to among many."""
EXAMPLES = 1_000_000
"""Bytes of all examples of a page, about."""
WIDEST, SMALLEST = 1280, 32
"""Pixels of a picture's longer side: more are not seen, and fewer show nothing."""


def sample_grids(samples: Mapping[int, Path], runs: int) -> dict[int, str]:
    """Sample grids of one of so many runs, by step, evenly from the first to the last; one that is damaged is left out."""
    most = max(FEWEST_GRIDS, MOST_GRIDS // runs)
    steps = list(samples)
    if len(steps) > most:
        steps = [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]
    found = {}
    for step in steps:
        try:
            found[step] = data_of(read_image(samples[step]), GRIDS // runs // len(steps))
        except DomtransError:
            continue
    return found


def example_pictures(examples: Examples, runs: int) -> list[dict[str, str]]:
    """Every example of one of so many runs: x, G(x) and the nearest real image, by the names of the fields."""
    share = EXAMPLES // runs // (len(IMAGE_TENSORS) * max(len(examples.labels), 1))
    columns = {name: [data_of(image, share) for image in to_pil(getattr(examples, name))] for name in IMAGE_TENSORS}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def data_of(image: Image.Image, most: int) -> str:
    """A picture as an address that holds it: exactly where it is small, else shrunk until it has at most so many bytes."""
    image = image.convert("RGB")
    image.thumbnail((WIDEST, WIDEST))
    exactly = max(image.size) <= MAX_SIDE
    while True:
        buffer = io.BytesIO()
        if exactly:
            image.save(buffer, "PNG")
        else:
            image.save(buffer, "JPEG", quality=85, subsampling=0)
        if buffer.tell() <= most or max(image.size) <= SMALLEST:
            form = "png" if exactly else "jpeg"
            return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if not exactly:
            scale = min(0.9, (most / buffer.tell()) ** 0.5)
            image.thumbnail((int(image.width * scale) or 1, int(image.height * scale) or 1))
        exactly = False
