"""Pictures that are drawn, each from its number alone; run as a program, this module is a process that does nothing else."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans.data.image_files import decode_picture
from domtrans.data.worker_process import serve_parent
from domtrans.errors import DomtransError

Picture = npt.NDArray[np.uint8] | bytes
"""uint8 [size, size, 3], or a PNG file of such a picture."""

Draw = Callable[..., Iterable[tuple[Picture, Mapping[str, str]]]]
"""(numbers, **options) -> for each number of a range a picture, and the values of its attributes by name, but for those that
it does not show."""


@dataclass(frozen=True)
class Block:
    """Neighbouring pictures, each as a PNG file or as the bytes of its pixels, and their attributes."""

    pictures: list[bytes]
    attributes: list[dict[str, str]]


def draw_block(draw: Draw, first: int, end: int, *, files: bool) -> Block:
    """The pictures ``first`` to ``end`` - 1. ``files``: as PNG files, else as the bytes of uint8 [size, size, 3]."""
    drawn = list(draw(range(first, end)))
    convert = as_file if files else as_pixels
    return Block([convert(picture) for picture, _ in drawn], [dict(shown) for _, shown in drawn])


def as_file(picture: Picture) -> bytes:
    """A PNG file."""
    if isinstance(picture, bytes):
        return picture
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)  # a fraction of the usual time, and hardly larger
    return file.getvalue()


def as_pixels(picture: Picture) -> bytes:
    """The bytes of uint8 [size, size, 3]."""
    if isinstance(picture, bytes):
        return decode_picture(io.BytesIO(picture), "a drawing").convert("RGB").tobytes()
    return picture.tobytes()


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """The first line says what draws; each line after it asks for a block: ``{"first", "end", "files"}``."""
    what = json.loads(requests.readline())
    draw = partial(getattr(importlib.import_module(what["module"]), what["function"]), **what["options"])
    for line in requests:
        try:
            block = draw_block(draw, **json.loads(line))
        except DomtransError as fault:
            answers.write(json.dumps({"fault": str(fault)}).encode() + b"\n")
        else:
            about = {"lengths": [len(picture) for picture in block.pictures], "attributes": block.attributes}
            answers.write(json.dumps(about).encode() + b"\n" + b"".join(block.pictures))
        answers.flush()


if __name__ == "__main__":
    serve_parent(serve)
