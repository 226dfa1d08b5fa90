"""Loads the images of a registered domain, and finds the engine that draws them."""

from __future__ import annotations

from domtrans.data.engine import DrawingEngine
from domtrans.data.image_set import ImageSet
from domtrans.data.rendered import RenderedDomain
from domtrans.errors import DomtransError
from domtrans.registry.parts import Part, nested_parts
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


def find_engine(registry: Registry, part: Part) -> DrawingEngine | None:
    """The engine that draws the images of a domain, or None. Neither data nor rendering is needed.

    Args:
        registry: Where the domain is registered.
        part: The domain's name and options. A domain that takes one other domain as an option, such as ``subset``, has the
            engine of that one.
    """
    rendered = rendered_part(registry, part)
    factory = None if rendered is None else registry.get("domain", rendered.name).factory
    if rendered is None or not isinstance(factory, RenderedDomain):
        return None
    return factory.engine(**registry.arguments("domain", rendered))


def rendered_part(registry: Registry, part: Part) -> Part | None:
    """The rendered domain that the images come from: the domain itself, or the only one that it takes as an option."""
    if isinstance(registry.get("domain", part.name).factory, RenderedDomain):
        return part
    inner = [nested.part for nested in nested_parts(dict(registry.options("domain", part))) if nested.kind == "domain"]
    return rendered_part(registry, inner[0]) if len(inner) == 1 else None
