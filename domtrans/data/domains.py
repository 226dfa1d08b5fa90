"""Loads the images of a registered domain."""

from __future__ import annotations

from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry


def load_domain(registry: Registry, part: Part, split: str, size: int) -> ImageSet:
    """Load a split of a domain.

    Args:
        registry: Where the domain is registered.
        part: The domain's name and options.
        split: "train" or "test".
        size: Side of the images in pixels.

    Raises:
        DomtransError: If the domain raises it, or returns something other than images of this size.
    """
    images = registry.build("domain", part, split, size)
    if not isinstance(images, ImageSet):
        raise DomtransError(f"the domain '{part.name}' must return an ImageSet, not {type(images).__name__}")
    if tuple(images.shape[-2:]) != (size, size):
        raise DomtransError(f"the domain '{part.name}' gave {list(images.shape[-2:])} pixels instead of {size}")
    return images
