"""The domain ``extended``: a domain with images of others to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from domtrans import Attribute, DomainOption, DomtransError, ImageSet, to_channels

OTHERS = "others"
"""The class of images that are of none of the domain's own."""


def extended(
    split: Literal["train", "test"],
    size: int,
    *,
    of: DomainOption,
    by: Annotated[list[DomainOption], Field(min_length=1)],
) -> ImageSet:
    """A domain whose training split has images of others besides, e.g. photographs and drawings of faces; tested on its own.

    Classes and attributes of one name are one. Images of a class that the domain does not have are of the class "others"; an
    attribute that a domain does not have is unknown for its images.

    ``of``: the domain. ``by``: the others. The images of all are held in memory, in the domain's channels.
    Raises DomtransError for images in files, and for attributes of one name and other values.
    """
    own: ImageSet = of(split, size)
    if own.labels is not None:
        own = ImageSet(own.pixels, own.labels, (*own.classes, OTHERS), own.about, own.attributes)
    if split == "test":
        return own
    found = [own, *(domain(split, size) for domain in by)]
    pixels = torch.cat([held(images, own.channels) for images in found])
    labels = None if own.labels is None else torch.cat([labels_among(own.classes, images) for images in found])
    about = " and ".join(images.about or "a domain" for images in found)
    return ImageSet(pixels, labels, own.classes, about, joined_attributes(found))


def held(images: ImageSet, channels: int) -> Tensor:
    """The pixels, uint8 [N, channels, H, W]."""
    pixels = images.pixels
    if not isinstance(pixels, Tensor):
        raise DomtransError(f"extended: {images.about or 'a domain'} is read from files as it is needed, and cannot be joined")
    return pixels if images.channels == channels else to_channels(pixels.float(), channels).round().to(torch.uint8)


def labels_among(classes: Sequence[str], images: ImageSet) -> Tensor:
    """The images' classes as places among these, the last of which is for those that are none of them: int64 [N]."""
    if images.labels is None:
        return torch.full((len(images),), len(classes) - 1)
    place = {name: number for number, name in enumerate(classes)}
    return torch.tensor([place.get(name, len(classes) - 1) for name in images.classes])[images.labels]


def joined_attributes(found: Sequence[ImageSet]) -> dict[str, Attribute]:
    """Every attribute that one of them has; -1 for the others' images."""
    joined = {}
    for name in dict.fromkeys(name for images in found for name in images.attributes):
        values = {one.attributes[name].values for one in found if name in one.attributes}
        if len(values) > 1:
            words = " and ".join(sorted(", ".join(some) for some in values))
            raise DomtransError(f"extended: the domains give the attribute '{name}' different values: {words}")
        unknown = [torch.full((len(images),), -1) for images in found]
        parts = [one.attributes[name].index if name in one.attributes else no for one, no in zip(found, unknown, strict=True)]
        joined[name] = Attribute(values.pop(), torch.cat(parts))
    return joined
