"""Contact sheets of data: some images of every class."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from domtrans.data.batches import evenly
from domtrans.data.decode_worker import decode_batch
from domtrans.data.grid import show_channels, to_rgb
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.inspection.inspect import Inspection

COLUMNS = 10
"""Images of a class."""

MAX_ROWS = 40
"""Classes on a sheet; of more, evenly spread ones are shown."""

UNLABELLED_ROWS = 6
"""Rows of a set without classes."""

SIDE, GAP, LABEL_WIDTH = 64, 4, 150
"""Pixels: side of an image, space between images, width of the names at the left."""

MAX_NAME_LETTERS = 20


def draw_sheet(inspection: Inspection) -> Image.Image:
    """A row for every class of every domain: its name, and training images; test images of a class that has no others."""
    rows: list[tuple[str, list[Image.Image]]] = []
    for name, domain in inspection.domains.items():
        prefix = f"{name}: " if len(inspection.domains) > 1 else ""
        rows += [(prefix + label, _thumbnails(images, index)) for label, images, index in _choose(list(domain.sets.values()))]
    step = SIDE + GAP
    sheet = Image.new("RGB", (LABEL_WIDTH + COLUMNS * step + GAP, len(rows) * step + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for row, (label, thumbnails) in enumerate(rows):
        top = GAP + row * step
        draw.text((GAP, top + SIDE // 2), _shorten(label), fill="black", font=font, anchor="lm")
        for column, thumbnail in enumerate(thumbnails):
            sheet.paste(thumbnail, (LABEL_WIDTH + column * step, top))
    return sheet


def _choose(sets: list[ImageSet]) -> list[tuple[str, ImageSet, Tensor]]:
    """The rows: a label, a set, and its images, int64 [n]."""
    first = sets[0]
    if first.labels is None:
        index = evenly(len(first), COLUMNS * UNLABELLED_ROWS)
        return [("images" if row == 0 else "", first, part) for row, part in enumerate(index.split(COLUMNS))]
    rows = []
    for k in evenly(len(first.classes), MAX_ROWS).tolist():
        for images in sets:
            assert images.labels is not None  # of one domain
            members = torch.nonzero(images.labels.cpu() == k)[:, 0]
            if len(members):
                break
        rows.append((f"{first.classes[k]} ({len(members):,})", images, members[evenly(len(members), COLUMNS)]))
    return rows


def _thumbnails(images: ImageSet, index: Tensor) -> list[Image.Image]:
    """The images as squares of ``SIDE`` pixels, without those that cannot be read."""
    pixels = images.pixels
    if isinstance(pixels, StoredImages):
        decoded, errors = decode_batch(**(pixels.request(index) | {"size": SIDE}))
        damaged = {position for position, _ in errors}
        decoded = show_channels(torch.from_numpy(decoded), images.shown).numpy()
        kept = [image for position, image in enumerate(decoded) if position not in damaged]
    else:
        kept = list(to_rgb(show_channels(images.batch(index), images.shown)).numpy())
    return [_to_image(image) for image in kept]


def _to_image(pixels: np.ndarray) -> Image.Image:
    """uint8 [1 or 3, S, S] as an RGB image of ``SIDE`` pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("RGB")
    small = image.width < SIDE
    resample = Image.Resampling.NEAREST if small and SIDE % image.width == 0 else Image.Resampling.BICUBIC
    return image if image.width == SIDE else image.resize((SIDE, SIDE), resample)


def _shorten(label: str) -> str:
    """A label that fits, in characters that the font has."""
    plain = label.encode("latin-1", "replace").decode("latin-1")
    return plain if len(plain) <= MAX_NAME_LETTERS else plain[: MAX_NAME_LETTERS - 3] + "..."
