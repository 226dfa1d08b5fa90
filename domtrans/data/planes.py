"""Image files of any number of channels: the pages of a TIFF stack, or the bands of an image such as RGBA."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence

from domtrans.data.aspect import Aspect, square_image
from domtrans.data.image_files import image_errors, open_image, silence_pillow_warnings
from domtrans.data.pixel_limit import pixel_limit
from domtrans.data.pixels import flatten
from domtrans.errors import DomtransError

MAX_CHANNELS = 64
"""Channels of an image, at most."""


def decode_planes(
    file: Path | BinaryIO, name: str, size: int, channels: int, aspect: Aspect = "crop", max_pixels: int | None = None
) -> npt.NDArray[np.uint8]:
    """An image file with every channel as it is, without a meaning as colour or transparency.

    A file of as many pages as channels has a channel on each page, which may have 16 bits and is scaled by the range of its
    type. Of any other file, the bands are the channels.

    Args:
        file: A path, or a binary stream of the encoded image.
        name: What error messages call it.
        size: Side of the result in pixels.
        channels: The number of channels.
        aspect: How an image that is not square becomes square.
        max_pixels: Limit of width times height, as in ``decode_image``.

    Returns:
        uint8 [channels, size, size].

    Raises:
        DomtransError: If the file cannot be read or has another number of channels.
    """
    with silence_pillow_warnings(), pixel_limit(max_pixels), image_errors(name), open_image(file) as image:
        pages = getattr(image, "n_frames", 1)
        if pages == channels and pages > 1:
            planes = [flatten(page.copy()).convert("L") for page in ImageSequence.Iterator(image)]
        else:
            image.load()
            planes = list(image.split())
        if len(planes) != channels:
            held = f"{pages} pages" if pages > 1 else f"{len(planes)} {'channel' if len(planes) == 1 else 'channels'}"
            raise DomtransError(f"{name} has {held}, but channels={channels} expects {channels}")
        return np.stack([_squared(plane, size, aspect) for plane in planes])


def _squared(plane: Image.Image, size: int, aspect: Aspect) -> npt.NDArray[np.uint8]:
    return np.array(square_image(plane, size, aspect), dtype=np.uint8)
