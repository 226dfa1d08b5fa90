"""Whether the networks of a recipe support its image size, and whether G enlarges what it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domtrans.errors import DomtransError
from domtrans.interfaces import Generator
from domtrans.recipe.schema import Recipe
from domtrans.registry.image_sizes import NETWORKS, in_words, sizes_of, supports
from domtrans.registry.parts import schema
from domtrans.registry.registry import Registry


def check_image_size(recipe: Recipe, registry: Registry) -> None:
    """Check that f, g and D support the image size of a recipe.

    Raises:
        DomtransError: Names every network that does not, a size that all support, and networks that support this one.
    """
    size = recipe.image_size
    declared = {kind: sizes_of(registry.get(kind, getattr(recipe, kind).name).factory) for kind in NETWORKS}
    refusing = {kind: sizes for kind, sizes in declared.items() if sizes is not None and size not in sizes}
    if not refusing:
        return
    others = {kind: networks_for(recipe, kind, registry) for kind in refusing}
    named = [
        f"the {kind} '{getattr(recipe, kind).name}' supports {in_words(sizes)} "
        f"(for {size:,}: {', '.join(others[kind]) or 'none is installed'})"
        for kind, sizes in refusing.items()
    ]
    common = set.intersection(*(set(sizes) for sizes in declared.values() if sizes is not None))
    ways = [f"set image_size={min(common, key=lambda other: abs(other - size))}"] if common else []
    ways += ["choose other networks"] if all(others.values()) or not common else []
    raise DomtransError(f"image_size={size} does not fit this recipe: {', '.join(named)}; {' or '.join(ways)}")


def networks_for(recipe: Recipe, kind: str, registry: Registry) -> list[str]:
    """The registered networks of a kind that support the image size of a recipe, need no option, and fit g."""
    replaced = registry.get(kind, getattr(recipe, kind).name).factory
    maps = reads_maps(registry.get("generator", recipe.generator.name).factory)
    found = []
    for name in registry.names(kind):
        factory = registry.get(kind, name).factory
        complete = not any(option.is_required() for option in schema(factory).model_fields.values())
        alike = draws_by_parameters(factory) == draws_by_parameters(replaced)
        fits_g = kind == "discriminator" or maps == (reads_maps(factory) or getattr(factory, "gives_maps", False))
        if complete and alike and fits_g and supports(factory, recipe.image_size):
            found.append(name)
    return found


def draws_by_parameters(factory: Callable[..., Any]) -> bool:
    """Whether it is a g that needs a drawing engine; pixels and parameters cannot replace each other."""
    return bool(getattr(factory, "draws_by_parameters", False))


def reads_maps(factory: Callable[..., Any]) -> bool:
    """Whether it is a g that reads feature maps."""
    return bool(getattr(factory, "reads_maps", False))


def enlarged_from(generator: Generator, size: int) -> int | None:
    """The image side that g draws, if it enlarges this to ``size`` pixels; else None."""
    drawn = generator.drawn_size
    return drawn if drawn is not None and drawn < size else None
