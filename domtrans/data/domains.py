"""From the name of a domain to its images."""

from __future__ import annotations

from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry


def load_domain(registry: Registry, part: Part, split: str, size: int) -> ImageSet:
    """The images of one split, "train" or "test", of a domain; raises DomtransError if it gives something else."""
    images = registry.build("domain", part, split, size)
    if not isinstance(images, ImageSet):
        raise DomtransError(f"the domain '{part.name}' must return an ImageSet, not {type(images).__name__}")
    if tuple(images.shape[-2:]) != (size, size):
        raise DomtransError(f"the domain '{part.name}' gave {list(images.shape[-2:])} pixels where {size} were asked for")
    return images
