"""The domain ``extended``: a domain with images of other domains added for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from domtrans import Attribute, DomainOption, DomtransError, ImageSet

OTHERS_CLASS = "others"
"""The class of images whose own class the domain does not have."""


def extended(
    split: Literal["train", "test"],
    size: int,
    *,
    of: DomainOption,
    by: Annotated[list[DomainOption], Field(min_length=1)],
) -> ImageSet:
    """A domain whose training split also has the images of other domains, e.g. photographs and drawings of faces.

    The test split is the domain's own. Classes with the same name are merged, and so are attributes. Images with a class that
    the domain does not have get the class "others". An attribute that a domain does not have is unknown for its images. All
    images are in memory, with the channels of the domain.

    Args:
        of: The domain.
        by: The domains whose training images are added.

    Raises:
        DomtransError: If a domain leaves its images in files, or domains give an attribute different values.
    """
    own: ImageSet = of(split, size)
    if own.labels is not None:
        own = replace(own, classes=tuple(dict.fromkeys((*own.classes, OTHERS_CLASS))))  # it may be an extended domain itself
    if split == "test":
        return own
    parts = [own, *(domain(split, size) for domain in by)]
    pixels = torch.cat([pixels_of(images, own.channels) for images in parts])
    labels = None if own.labels is None else torch.cat([relabel(images, own.classes) for images in parts])
    about = " and ".join(images.about or "a domain" for images in parts)
    notes = tuple(note for images in parts for note in images.notes)
    return ImageSet(pixels, labels, own.classes, about, join_attributes(parts), notes, shown=own.shown)


def pixels_of(images: ImageSet, channels: int) -> Tensor:
    """The pixels of a set in memory, uint8 [N, channels, H, W]."""
    if not images.in_memory:
        raise DomtransError(f"extended: {images.about or 'a domain'} leaves its images in files; give it memory=yes")
    return images.in_channels(channels).images


def relabel(images: ImageSet, classes: Sequence[str]) -> Tensor:
    """The labels as indices into ``classes``, int64 [N]; the class "others" stands for all that are not in it."""
    index = {name: number for number, name in enumerate(classes)}
    others = index[OTHERS_CLASS]
    if images.labels is None:
        return torch.full((len(images),), others)
    return torch.tensor([index.get(name, others) for name in images.classes])[images.labels]


def join_attributes(parts: Sequence[ImageSet]) -> dict[str, Attribute]:
    """The attributes of all sets; -1 for the images of a set that does not have the attribute."""
    joined = {}
    for name in dict.fromkeys(name for images in parts for name in images.attributes):
        values = {images.attributes[name].values for images in parts if name in images.attributes}
        if len(values) > 1:
            lists = " and ".join(sorted(map(", ".join, values)))
            raise DomtransError(f"extended: the domains give the attribute '{name}' different values: {lists}")
        indices = [
            images.attributes[name].index if name in images.attributes else torch.full((len(images),), -1) for images in parts
        ]
        joined[name] = Attribute(values.pop(), torch.cat(indices))
    return joined
