"""From a recipe to f and g: networks built and checked, with initial weights that depend on the recipe's seed alone."""

from __future__ import annotations

from contextlib import AbstractContextManager

from domtrans.compute.memory import enough_memory
from domtrans.compute.seeding import seeded
from domtrans.data.batches import derive_seed
from domtrans.errors import DomtransError
from domtrans.interfaces import Encoder, Generator
from domtrans.model.transfer import FrozenEncoder, Transfer
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry


def build_transfer(recipe: Recipe, registry: Registry, classes: int, channels: int) -> Transfer:
    """f and g, untrained. ``classes``: labelled classes of the source. ``channels``: of the target images."""
    with layers_of(recipe, "encoder"), fits_memory("encoder", recipe.encoder):
        encoder = registry.build("encoder", recipe.encoder, recipe.image_size, classes)
    expect(encoder, Encoder, "encoder", recipe.encoder)
    frozen = FrozenEncoder(encoder)
    with layers_of(recipe, "generator"), fits_memory("generator", recipe.generator):
        generator = registry.build("generator", recipe.generator, frozen.feature_size, channels, recipe.image_size)
    expect(generator, Generator, "generator", recipe.generator)
    return Transfer(frozen, generator)


def fits_memory(kind: str, part: Part) -> AbstractContextManager[None]:
    """Options may ask for more than any machine has."""
    return enough_memory(f"the {kind} '{part.name}'", "choose smaller options for it")


def expect(thing: object, base: type, kind: str, part: Part) -> None:
    """Raise DomtransError unless a plugin built what it should."""
    if not isinstance(thing, base):
        raise DomtransError(f"the {kind} '{part.name}' must be a domtrans.{base.__name__}, not {type(thing).__name__}")


def layers_of(recipe: Recipe, purpose: str) -> AbstractContextManager[None]:
    """A block in which a network for one purpose draws its initial weights."""
    return seeded(derive_seed(recipe.seed, purpose))
