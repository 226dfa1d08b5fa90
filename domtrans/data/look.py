"""Looks at the images of a domain, for a recipe that chooses by them."""

from __future__ import annotations

import io
from statistics import median_low

import torch
from torch import Tensor

from domtrans.data.batches import evenly
from domtrans.data.decode_worker import read_bytes
from domtrans.data.domains import load_domain
from domtrans.data.facts import DomainFacts
from domtrans.data.image_files import image_errors, open_image, silence_pillow_warnings
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.registry.parts import Part, schema
from domtrans.registry.registry import Registry

SAMPLE = 48
"""Training images of a domain whose size and colours are looked at, evenly spread."""

LOOK_SIZE = 64
"""Side in pixels in which these images are read."""


def look(registry: Registry, part: Part) -> DomainFacts:
    """Read what the training images of a domain are like. Of images in files, a sample is decoded.

    Args:
        registry: Where the domain is registered.
        part: The domain's name and options.

    Raises:
        DomtransError: If the domain cannot be read.
    """
    options = schema(registry.get("domain", part.name).factory).model_fields
    reading = part.model_copy(update={"options": part.options | ({"memory": "no"} if "memory" in options else {})})
    images = load_domain(registry, reading, "train", LOOK_SIZE)
    sample = evenly(len(images), SAMPLE)
    pixels = images.batch(sample)
    is_grey = images.channels == 3 and bool((pixels == pixels[:, :1]).all())
    return DomainFacts(len(images), _class_counts(images), 1 if is_grey else images.channels, _side(images, sample))


def _class_counts(images: ImageSet) -> dict[str, int]:
    if images.labels is None:
        return {}
    counts = torch.bincount(images.labels.cpu(), minlength=len(images.classes)).tolist()
    return dict(zip(images.classes, counts, strict=True))


def _side(images: ImageSet, sample: Tensor) -> int | None:
    """The median of the shorter sides in the headers of the files."""
    stored = images.pixels
    if not isinstance(stored, StoredImages):
        return None
    locations = stored.locations(sample)
    copies, sides = stored.download(locations), []
    with silence_pillow_warnings():
        for location in locations:
            with image_errors(location[0]), open_image(io.BytesIO(read_bytes(location, copies))) as image:
                sides.append(min(image.size))
    return median_low(sides)
