"""From a recipe to things: load its data, make and fit f, build g, D and the losses."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from domtrans.compute.memory import enough_memory
from domtrans.compute.seeding import reseed
from domtrans.data.batches import derive_seed
from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.evaluation.leak_guard import check_for_evaluators, evaluators_kept_out
from domtrans.interfaces import Augmentation, Discriminator, Encoder
from domtrans.model.build import build_transfer, expect, fits_memory, layers_of
from domtrans.model.transfer import Transfer
from domtrans.model.weights import load_encoder
from domtrans.recipe.schema import Recipe, TrainConfig
from domtrans.registry.parts import Part, handed_in, nested_parts
from domtrans.registry.registry import Registry
from domtrans.session import Session
from domtrans.storage.tensors import fingerprint
from domtrans.training.losses import WeightedLoss, build_losses


@dataclass(frozen=True)
class Experiment:
    """All that a recipe names, built: the players, what they minimise, and what they see."""

    config: TrainConfig
    source: ImageSet
    target: ImageSet
    transfer: Transfer
    discriminator: Discriminator
    generator_losses: tuple[WeightedLoss, ...]
    discriminator_losses: tuple[WeightedLoss, ...]
    source_augmentation: Augmentation | None = None
    target_augmentation: Augmentation | None = None
    view: Augmentation | None = None
    discriminator_view: Augmentation | None = None
    align_features: bool = False


def prepare(recipe: Recipe, registry: Registry, session: Session) -> Experiment:
    """Everything of a resolved recipe, ready to train. Fits f, or finds it in the cache."""
    data = session.during("data")
    data.report(0, 2)
    with session.group.leader_first():
        source = load_domain(registry, recipe.source, "train", recipe.image_size)
        data.report(1, 2)
        target = load_domain(registry, recipe.target, "train", recipe.image_size)
    data.report(2, 2)
    transfer = build_transfer(recipe, registry, len(source.classes), target.channels)
    if recipe.train.balance_source and (not transfer.encoder.has_head() or transfer.encoder.encoder.heads):
        raise DomtransError(
            "train.balance_source needs an encoder with one classification head; set it to false or change the encoder"
        )
    with layers_of(recipe, "discriminator"), fits_memory("discriminator", recipe.discriminator):
        discriminator = registry.build("discriminator", recipe.discriminator, target.channels, recipe.image_size)
    expect(discriminator, Discriminator, "discriminator", recipe.discriminator)
    if discriminator.reads_classes and discriminator.reads_classes != transfer.encoder.classes():
        raise DomtransError(
            f"the discriminator '{recipe.discriminator.name}' reads {discriminator.reads_classes} classes, but f's head has "
            f"{transfer.encoder.classes()}; give it as many, or 0 to judge images alone"
        )

    if recipe.align_features and transfer.generator.reads_images:
        raise DomtransError(
            f"align_features=true moves features, but the generator '{recipe.generator.name}' reads images; "
            "set align_features=false"
        )

    def optional(part: Part | None) -> Any:
        return None if part is None else registry.build("augmentation", part)

    with layers_of(recipe, "losses"):
        generator_losses = build_losses(registry, recipe.generator_losses)
        discriminator_losses = build_losses(registry, recipe.discriminator_losses)
    experiment = Experiment(
        config=recipe.train,
        source=source,
        target=target.unlabelled(),
        transfer=transfer,
        discriminator=discriminator,
        generator_losses=generator_losses,
        discriminator_losses=discriminator_losses,
        source_augmentation=optional(recipe.source_augmentation),
        target_augmentation=optional(recipe.target_augmentation),
        view=optional(recipe.view),
        discriminator_view=optional(recipe.discriminator_view),
        align_features=recipe.align_features,
    )
    check_for_evaluators(_parts(experiment, recipe, registry), oracle=recipe.oracle)
    if session.group.leads:
        with evaluators_kept_out(oracle=recipe.oracle):
            fit_encoder(recipe, registry, transfer.encoder.encoder, source, target, session)
        transfer.encoder.to(session.device).standardize(source)
    if session.group.size > 1:
        transfer.encoder.load_state_dict(session.group.share(transfer.encoder.state_dict()))
    return experiment


def _parts(experiment: Experiment, recipe: Recipe, registry: Registry) -> dict[str, object]:
    """All that f, g and D learn from or with, by its place in the recipe."""
    terms = {"generator_losses": experiment.generator_losses, "discriminator_losses": experiment.discriminator_losses}
    views = ("source_augmentation", "target_augmentation", "view", "discriminator_view")
    fits = {name: part for name in ("fit", "adapt") if (part := getattr(recipe, name)) is not None}
    return {
        **{f"{side}.{item.name}": item.loss for side, items in terms.items() for item in items},
        **{name: getattr(experiment, name) for name in views},
        **{name: registry.build("fit", part) for name, part in fits.items()},
        "encoder": experiment.transfer.encoder.encoder,
        "generator": experiment.transfer.generator,
        "discriminator": experiment.discriminator,
    }


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
        load_encoder(encoder, Path(recipe.encoder.weights))
        stages = stages[1:]
    else:
        encoder.load_pretrained()
    key |= {"begins_as": fingerprint(encoder.state_dict())}
    for stage, part in stages:
        if part is None:
            continue
        if next(encoder.parameters(), None) is None:
            raise DomtransError(f"the encoder '{recipe.encoder.name}' has nothing to learn; set {stage}=none")
        during = session.during(stage)
        fit = registry.build("fit", part)
        sees_target = len(handed_in(registry.get("fit", part.name).factory)) == 4
        key = {"before": key, "by": _identity(registry, "fit", part), "seed": recipe.seed, "source": source.fingerprint()}
        if sees_target:
            key |= {"target": target.fingerprint()}
        arguments = (encoder, source, during) + ((target.unlabelled(),) if sees_target else ())

        def train_f(fit: Any = fit, arguments: tuple[Any, ...] = arguments, stage: str = stage) -> None:
            encoder.to(session.device).to(memory_format=torch.channels_last).train().requires_grad_(True)
            reseed(derive_seed(recipe.seed, stage))  # for dropout in f
            with enough_memory(
                f"{'fitting' if stage == 'fit' else 'adapting'} f", f"choose a smaller {stage}.batch_size or a smaller encoder"
            ):
                fit(*arguments)
            encoder.requires_grad_(False).eval()

        during.report(0, 1)
        session.cache.fitted(encoder, "encoders", key, train_f)
        during.report(1, 1)


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
