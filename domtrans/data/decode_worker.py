"""Decodes images from byte ranges of files. ``python -m domtrans.data.decode_worker`` is a process that only does that."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from domtrans.data.aspect import Aspect
from domtrans.data.image_files import decode_image
from domtrans.data.pixels import flat_square_array
from domtrans.data.planes import decode_planes
from domtrans.data.worker_process import send, serve_parent
from domtrans.errors import DomtransError, one_line

MAX_IMAGE_BYTES = 256 * 2**20
"""Size limit of an encoded image."""

Location = tuple[str, int, int]
"""Where an encoded image is: the file, the first byte, and the number of bytes."""

Copies = Mapping[str, str]
"""Local copies of remote files, by address."""

NO_COPIES: Copies = MappingProxyType({})

DecodeErrors = Sequence[tuple[int, str]]
"""Positions in a batch of the images that cannot be read, and why."""


def decode_batch(
    locations: Sequence[Location],
    size: int,
    channels: int,
    aspect: Aspect = "crop",
    max_pixels: int | None = None,
    copies: Copies = NO_COPIES,
) -> tuple[npt.NDArray[np.uint8], DecodeErrors]:
    """Images as squares: uint8 [n, channels, size, size], black where an image cannot be read."""
    pixels = np.zeros((len(locations), channels, size, size), np.uint8)
    errors = []
    for position in sorted(range(len(locations)), key=locations.__getitem__):  # in the order on disk
        try:
            content, name = io.BytesIO(read_bytes(locations[position], copies)), name_of(locations[position])
            if channels in (1, 3):
                pixels[position] = flat_square_array(decode_image(content, name, max_pixels), size, channels, aspect)
            else:
                pixels[position] = decode_planes(content, name, size, channels, aspect, max_pixels)
        except DomtransError as error:
            errors.append((position, str(error)))
    return pixels, errors


def read_bytes(location: Location, copies: Copies = NO_COPIES) -> bytes:
    """The encoded image. Raises DomtransError if it cannot be read or is too large."""
    path, offset, length = location
    if length > MAX_IMAGE_BYTES:
        raise DomtransError(f"{name_of(location)} has {length:,} bytes, too many for an image (limit {MAX_IMAGE_BYTES:,})")
    try:
        with open(copies.get(path, path), "rb", buffering=0) as file:  # noqa: PTH123 - four times faster than Path.open, once an image
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise DomtransError(f"{name_of(location)} cannot be read: {error.strerror}") from None


def name_of(location: Location) -> str:
    """What error messages call an image."""
    path, offset, _ = location
    return f"{path}, byte {offset:,}" if offset else path


def serve(requests: Iterator[Any], responses: BinaryIO) -> None:
    """Answer requests, the arguments of ``decode_batch``, with the errors and then the pixels."""
    for request in requests:
        pixels, errors = decode_batch(**request)
        send(responses, [(position, one_line(error)) for position, error in errors], pixels.data)


if __name__ == "__main__":
    serve_parent(serve)
