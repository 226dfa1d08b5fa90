"""Build f and g from a recipe, with initial weights that depend only on its seed."""

from __future__ import annotations

from contextlib import AbstractContextManager

from domtrans.compute.memory import enough_memory
from domtrans.compute.seeding import seeded
from domtrans.data.batches import derive_seed
from domtrans.data.domains import find_engine
from domtrans.errors import DomtransError
from domtrans.interfaces import Encoder, Generator
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
        DomtransError: If a plugin returns something else than its base class, or the memory does not suffice.
    """
    with initial_weights(recipe, "encoder"), fits_memory("encoder", recipe.encoder):
        encoder = registry.build("encoder", recipe.encoder, recipe.image_size, classes)
    expect(encoder, Encoder, "encoder", recipe.encoder)
    frozen = FrozenEncoder(encoder)
    with initial_weights(recipe, "generator"), fits_memory("generator", recipe.generator):
        arguments = [frozen.feature_size, channels, recipe.image_size]
        takes_engine = "engine" in positional_parameters(registry.get("generator", recipe.generator.name).factory)
        engine = find_engine(registry, recipe.target) if takes_engine else None
        generator = registry.build("generator", recipe.generator, *arguments, *([engine] if takes_engine else []))
    expect(generator, Generator, "generator", recipe.generator)
    return Transfer(frozen, generator, engine)


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
