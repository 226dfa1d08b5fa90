"""Pictures anywhere in files, to arrays; ``python -m domtrans.data.decode_worker`` is a process that does nothing else.

It answers every request, a line of JSON, with a line of JSON and the pixels, and holds nothing between requests.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from domtrans.data.image_files import decode_picture, square_pixels
from domtrans.data.worker_process import serve_parent
from domtrans.errors import DomtransError, one_line

LARGEST = 256 * 2**20
"""Bytes that a single encoded picture may have."""

Place = tuple[str, int, int]
"""Where a picture is: a file, and in it the first byte and the number of bytes."""

Faults = Sequence[tuple[int, str]]
"""Positions in a batch of pictures that cannot be read, and why."""


def decode_all(places: Sequence[Place], size: int, channels: int) -> tuple[npt.NDArray[np.uint8], Faults]:
    """The centre squares of pictures: uint8 [n, channels, size, size], black where a picture cannot be read."""
    pixels = np.zeros((len(places), channels, size, size), np.uint8)
    faults = []
    for position in sorted(range(len(places)), key=places.__getitem__):  # in the order in which they lie on the disk
        try:
            pixels[position] = decode_one(places[position], size, channels)
        except DomtransError as fault:
            faults.append((position, str(fault)))
    return pixels, faults


def decode_one(place: Place, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """The centre square of one picture, uint8 [channels, size, size]. Raises DomtransError if it cannot be read."""
    return square_pixels(decode_picture(io.BytesIO(read_bytes(place)), name_of(place)), size, channels)


def read_bytes(place: Place) -> bytes:
    """The encoded picture. Raises DomtransError if it is not there."""
    path, offset, length = place
    if length > LARGEST:
        raise DomtransError(f"{name_of(place)} has {length:,} bytes, too many for a picture (limit {LARGEST:,})")
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a quarter of the time of Path.open, once for every picture
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise DomtransError(f"{name_of(place)} cannot be read: {error.strerror}") from None


def name_of(place: Place) -> str:
    """A picture as messages call it."""
    path, offset, _ = place
    return f"{path}, byte {offset:,}" if offset else path


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests, ``{"places", "size", "channels"}`` each, until there are no more."""
    for line in requests:
        pixels, faults = decode_all(**json.loads(line))
        answers.write(json.dumps([(position, one_line(fault)) for position, fault in faults]).encode() + b"\n")
        answers.write(pixels.data)
        answers.flush()


if __name__ == "__main__":
    serve_parent(serve)
