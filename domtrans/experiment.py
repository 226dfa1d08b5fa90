"""From a recipe to things: load its data, make and fit f, build g, D and the losses."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from domtrans.batches import derive_seed
from domtrans.errors import DomtransError
from domtrans.images import ImageSet
from domtrans.interfaces import OUTPUT_FIELDS, Discriminator, Encoder, Generator, Loss
from domtrans.model import FrozenEncoder, Transfer
from domtrans.parts import Part, handed_in, nested_parts
from domtrans.recipe import Recipe, Term
from domtrans.registry import Registry
from domtrans.session import Session
from domtrans.tensors import fingerprint, read_weights
from domtrans.trainer import Experiment, WeightedLoss


def load_domain(registry: Registry, part: Part, split: str, size: int) -> ImageSet:
    """The images of one split, "train" or "test", of a domain; raises DomtransError if it gives something else."""
    images = registry.build("domain", part, split, size)
    if not isinstance(images, ImageSet):
        raise DomtransError(f"the domain '{part.name}' must return an ImageSet, not {type(images).__name__}")
    if tuple(images.images.shape[-2:]) != (size, size):
        raise DomtransError(
            f"the domain '{part.name}' gave {list(images.images.shape[-2:])} pixels where {size} were asked for"
        )
    return images


def prepare(recipe: Recipe, registry: Registry, session: Session) -> Experiment:
    """Everything of a resolved recipe, ready to train. Fits f, or finds it in the cache."""
    data = session.during("data")
    data.report(0, 2)
    source = load_domain(registry, recipe.source, "train", recipe.image_size)
    data.report(1, 2)
    target = load_domain(registry, recipe.target, "train", recipe.image_size)
    data.report(2, 2)
    transfer = build_transfer(recipe, registry, len(source.classes), target.channels)
    if recipe.train.balance_source and not transfer.encoder.has_head():
        raise DomtransError(
            "train.balance_source needs an encoder with a classification head; set it to false or change the encoder"
        )
    fit_encoder(recipe, registry, transfer.encoder.encoder, source, target, session)
    transfer.encoder.to(session.device).standardize(source)
    seed_layers(recipe, "discriminator")
    discriminator = registry.build("discriminator", recipe.discriminator, target.channels, recipe.image_size)
    expect(discriminator, Discriminator, "discriminator", recipe.discriminator)

    def optional(part: Part | None) -> Any:
        return None if part is None else registry.build("augmentation", part)

    return Experiment(
        config=recipe.train,
        source=source,
        target=target.unlabelled(),
        transfer=transfer,
        discriminator=discriminator,
        generator_losses=build_losses(registry, recipe.generator_losses),
        discriminator_losses=build_losses(registry, recipe.discriminator_losses),
        source_augmentation=optional(recipe.source_augmentation),
        target_augmentation=optional(recipe.target_augmentation),
        view=optional(recipe.view),
        discriminator_view=optional(recipe.discriminator_view),
    )


def build_transfer(recipe: Recipe, registry: Registry, classes: int, channels: int) -> Transfer:
    """f and g, untrained. ``classes``: labelled classes of the source. ``channels``: of the target images."""
    seed_layers(recipe, "encoder")
    encoder = registry.build("encoder", recipe.encoder, recipe.image_size, classes)
    expect(encoder, Encoder, "encoder", recipe.encoder)
    frozen = FrozenEncoder(encoder)
    seed_layers(recipe, "generator")
    generator = registry.build("generator", recipe.generator, frozen.feature_size, channels, recipe.image_size)
    expect(generator, Generator, "generator", recipe.generator)
    return Transfer(frozen, generator)


def fit_encoder(
    recipe: Recipe, registry: Registry, encoder: Encoder, source: ImageSet, target: ImageSet, session: Session
) -> None:
    """Load f's weights, or fit them on the source; then adapt them. Every stage is cached by what it depends on."""
    key: dict[str, Any] = {
        "encoder": _identity(registry, "encoder", recipe.encoder),
        "size": recipe.image_size,
        "computed": f"{session.device.type} {session.dtype}",
    }
    stages = [("fit", recipe.fit), ("adapt", recipe.adapt)]
    if recipe.encoder.weights is not None:
        load_weights(encoder, Path(recipe.encoder.weights))
        key |= {"weights": fingerprint(encoder.state_dict())}
        stages = stages[1:]
    for stage, part in stages:
        if part is None:
            continue
        during = session.during(stage)
        fit = registry.build("fit", part)
        sees_target = len(handed_in(registry.get("fit", part.name).factory)) == 4
        key = {"before": key, "by": _identity(registry, "fit", part), "seed": recipe.seed, "source": source.fingerprint()}
        if sees_target:
            key |= {"target": target.fingerprint()}
        arguments = (encoder, source, during) + ((target.unlabelled(),) if sees_target else ())

        def train_f(fit: Any = fit, arguments: tuple[Any, ...] = arguments, stage: str = stage) -> None:
            encoder.to(session.device).to(memory_format=torch.channels_last).train().requires_grad_(True)
            seed_layers(recipe, stage)
            fit(*arguments)
            encoder.requires_grad_(False).eval()

        during.report(0, 1)
        session.cache.fitted(encoder, "encoders", key, train_f)
        during.report(1, 1)


def load_weights(encoder: Encoder, path: Path) -> None:
    """Load weights into f; raises DomtransError, naming the first difference, unless names and shapes fit exactly."""
    weights, wanted = read_weights(path), encoder.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights or name not in wanted:
            where = "missing from" if name in wanted else "not expected in"
            raise DomtransError(f"{path} does not fit the encoder {type(encoder).__name__}: {name} is {where} the file")
        if weights[name].shape != wanted[name].shape:
            shapes = f"{list(weights[name].shape)} instead of {list(wanted[name].shape)}"
            raise DomtransError(f"{path} does not fit the encoder {type(encoder).__name__}: {name} has the shape {shapes}")
    encoder.load_state_dict(weights)


def build_losses(registry: Registry, terms: dict[str, Term]) -> tuple[WeightedLoss, ...]:
    """The losses of a recipe, checked to read only what there is."""
    losses = []
    for name, term in terms.items():
        loss = registry.build("loss", term)
        expect(loss, Loss, "loss", term)
        unknown = frozenset(loss.reads) - OUTPUT_FIELDS
        if unknown:
            raise DomtransError(f"the loss '{term.name}' reads {sorted(unknown)}, which Outputs does not have")
        losses.append(WeightedLoss(name, loss, term))
    return tuple(losses)


def expect(thing: object, base: type, kind: str, part: Part) -> None:
    """Raise DomtransError unless a plugin built what it should."""
    if not isinstance(thing, base):
        raise DomtransError(f"the {kind} '{part.name}' must be a domtrans.{base.__name__}, not {type(thing).__name__}")


def seed_layers(recipe: Recipe, purpose: str) -> None:
    """Seed torch's global generator for one purpose: a network's initial weights, or dropout while f is fitted."""
    torch.manual_seed(derive_seed(recipe.seed, purpose))


def _identity(registry: Registry, kind: str, part: Part) -> dict[str, Any]:
    """What a part's outcome depends on: its name, its options, and the code of its module and of its nested parts'."""
    code = hashlib.sha256()
    for factory in _factories(registry, kind, part):
        with suppress(TypeError, OSError):  # defined at a prompt: no file to read
            code.update(Path(inspect.getfile(factory)).read_bytes())
    return {"name": part.name, "options": part.options, "code": code.hexdigest()[:16]}


def _factories(registry: Registry, kind: str, part: Part) -> Iterator[Callable[..., Any]]:
    yield registry.get(kind, part.name).factory
    options = registry.options(kind, part)
    for nested in nested_parts([getattr(options, name) for name in type(options).model_fields]):
        yield from _factories(registry, nested.kind, nested.part)
