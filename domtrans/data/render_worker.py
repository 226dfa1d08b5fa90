"""Renders images, each from its number alone. As a program, this module is a process that only does that."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans.data.image_files import decode_image
from domtrans.data.worker_process import send, serve_parent
from domtrans.errors import DomtransError

RenderedImage = npt.NDArray[np.uint8] | bytes
"""uint8 [size, size, 3], or a PNG file of such an image."""

Rendered = tuple[RenderedImage, Mapping[str, str]] | tuple[RenderedImage, Mapping[str, str], Mapping[str, str]]
"""An image, the values of the attributes that it shows, and, if an engine drew it, its parameters."""

RenderFunction = Callable[..., Iterable[Rendered]]
"""``(numbers, **options)`` to what is rendered for each number."""


@dataclass(frozen=True)
class Block:
    """Images with consecutive numbers."""

    images: list[bytes]
    """Each a PNG file, or the bytes of its pixels."""

    attributes: list[dict[str, str]]
    """The values of each image by attribute name."""

    parameters: list[dict[str, str]]
    """The parameters of each image; empty for images that no engine drew."""


def render_block(render: RenderFunction, first: int, end: int, *, files: bool) -> Block:
    """The images ``first`` to ``end`` - 1, as PNG files or (``files=False``) as the bytes of uint8 [size, size, 3]."""
    rendered = list(render(range(first, end)))
    convert = encode_png if files else pixel_bytes
    parameters = [dict(item[2]) for item in rendered if len(item) == 3]
    return Block([convert(item[0]) for item in rendered], [dict(item[1]) for item in rendered], parameters)


def encode_png(image: RenderedImage) -> bytes:
    """The image as a PNG file."""
    if isinstance(image, bytes):
        return image
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)  # several times faster, and hardly larger
    return file.getvalue()


def pixel_bytes(image: RenderedImage) -> bytes:
    """The image as the bytes of uint8 [size, size, 3]."""
    if isinstance(image, bytes):
        return decode_image(io.BytesIO(image), "a rendered image").convert("RGB").tobytes()
    return image.tobytes()


def serve(requests: Iterator[Any], responses: BinaryIO) -> None:
    """Answer requests for blocks, ``{"first", "end", "files"}``. The first message names the function that renders."""
    setup = next(requests)
    render = partial(getattr(importlib.import_module(setup["module"]), setup["function"]), **setup["options"])
    for request in requests:
        try:
            block = render_block(render, **request)
        except DomtransError as error:
            send(responses, {"error": str(error)})
        else:
            lengths = [len(image) for image in block.images]
            header = {"lengths": lengths, "attributes": block.attributes, "parameters": block.parameters}
            send(responses, header, b"".join(block.images))


if __name__ == "__main__":
    serve_parent(serve)
