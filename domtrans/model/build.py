"""Build f and g from a recipe, with initial weights that depend only on its seed."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

from domtrans.compute.memory import enough_memory
from domtrans.compute.seeding import seeded
from domtrans.data.batches import derive_seed
from domtrans.data.domains import find_engine
from domtrans.errors import DomtransError
from domtrans.interfaces import Encoder, Generator
from domtrans.model.image_sizes import reads_maps
from domtrans.model.transfer import FrozenEncoder, Transfer
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part, positional_parameters
from domtrans.registry.registry import Registry


def build_transfer(recipe: Recipe, registry: Registry, classes: int, channels: int) -> Transfer:
    """Build f and g, untrained.

    Args:
        recipe: The recipe.
        registry: The parts.
        classes: Number of labelled source classes; 0 without labels.
        channels: Channels of the target images.

    Raises:
        DomtransError: If a plugin returns something else than its base class, g cannot read the features of f, or the memory
            does not suffice.
    """
    with initial_weights(recipe, "encoder"), fits_memory("encoder", recipe.encoder):
        encoder = registry.build("encoder", recipe.encoder, recipe.image_size, classes)
    expect(encoder, Encoder, "encoder", recipe.encoder)
    frozen = FrozenEncoder(encoder)
    with initial_weights(recipe, "generator"), fits_memory("generator", recipe.generator):
        factory = registry.get("generator", recipe.generator.name).factory
        check_features_fit(recipe, registry, encoder)
        features = encoder.feature_shape if reads_maps(factory) else math.prod(encoder.feature_shape)
        arguments = [features, channels, recipe.image_size]
        takes_engine = "engine" in positional_parameters(factory)
        engine = find_engine(registry, recipe.target) if takes_engine else None
        generator = registry.build("generator", recipe.generator, *arguments, *([engine] if takes_engine else []))
    expect(generator, Generator, "generator", recipe.generator)
    return Transfer(frozen, generator, engine)


def check_features_fit(recipe: Recipe, registry: Registry, encoder: Encoder) -> None:
    """Raise DomtransError if f gives maps and g reads vectors, or the reverse."""
    factory, gives_maps = registry.get("generator", recipe.generator.name).factory, len(encoder.feature_shape) == 3
    if getattr(factory, "reads_images", False) or gives_maps == reads_maps(factory):
        return
    names = [name for name in registry.names("generator") if reads_maps(registry.get("generator", name).factory) == gives_maps]
    found, wanted = ("maps", "vectors") if gives_maps else ("vectors", "maps")
    raise DomtransError(
        f"the encoder '{recipe.encoder.name}' gives feature {found}, and the generator '{recipe.generator.name}' reads feature "
        f"{wanted}; choose a generator of {found} ({', '.join(names) or 'none is installed'}) or an encoder of {wanted}"
    )


def fits_memory(kind: str, part: Part) -> AbstractContextManager[None]:
    """A block that builds a part; out of memory is a DomtransError, since options may ask for any size."""
    return enough_memory(f"the {kind} '{part.name}'", "choose smaller options for it")


def expect(built: object, base: type, kind: str, part: Part) -> None:
    """Raise DomtransError unless a part is an instance of its base class."""
    if not isinstance(built, base):
        raise DomtransError(f"the {kind} '{part.name}' must be a domtrans.{base.__name__}, not {type(built).__name__}")


def initial_weights(recipe: Recipe, purpose: str) -> AbstractContextManager[None]:
    """A block that seeds torch for the initial weights of one network."""
    return seeded(derive_seed(recipe.seed, purpose))
