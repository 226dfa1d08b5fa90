"""From a recipe to an experiment: domains, networks, losses and augmentations, built and checked, with f trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.evaluation.leak_guard import check_for_evaluators, evaluators_kept_out, find_held
from domtrans.interfaces import PARAMETER_FIELDS, AdaptiveAugmentation, Augmentation, Discriminator
from domtrans.model.build import build_transfer, expect, fits_memory, initial_weights
from domtrans.model.noise import noises_of
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe, TrainConfig
from domtrans.registry.parts import Part
from domtrans.registry.registry import Registry
from domtrans.session import Session
from domtrans.training.fit_encoder import fit_encoder
from domtrans.training.losses import WeightedLoss, build_losses

MIN_IMAGES = 2
"""Training images that each domain needs: a standard deviation needs two."""


@dataclass(frozen=True)
class Experiment:
    """All that a recipe names, built: training images, f, g and D, their losses, and augmentations."""

    config: TrainConfig
    registry: Registry
    """Builds the optimizers, when the networks are on their device."""
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


def prepare(
    recipe: Recipe, registry: Registry, session: Session, *, on_data: Callable[[ImageSet, ImageSet], None] | None = None
) -> Experiment:
    """Build everything that a resolved recipe names, and train f or load it from the cache.

    Args:
        recipe: The resolved recipe.
        registry: The parts.
        session: Where to compute.
        on_data: Called with the training images of source and target, before f is trained.

    Raises:
        DomtransError: If parts do not fit together or are not what their kind promises.
    """
    source, target = _load_domains(recipe, registry, session)
    if on_data is not None:
        on_data(source, target)
    transfer = build_transfer(recipe, registry, len(source.classes), target.channels)
    with initial_weights(recipe, "discriminator"), fits_memory("discriminator", recipe.discriminator):
        arguments = (target.channels, recipe.image_size, transfer.encoder.classes())
        discriminator = registry.build("discriminator", recipe.discriminator, *arguments)
    expect(discriminator, Discriminator, "discriminator", recipe.discriminator)
    _check_parts_fit(recipe, source, transfer, discriminator)
    with initial_weights(recipe, "losses"):
        generator_losses = build_losses(registry, recipe.generator_losses, session)
        discriminator_losses = build_losses(registry, recipe.discriminator_losses, session)

    losses = (*generator_losses, *discriminator_losses)
    by_parameters = transfer.generator.draws_by_parameters
    unlabelled_target = target.unlabelled()
    if by_parameters:
        unlabelled_target = replace(unlabelled_target, parameters=target.parameters)
    _check_parameters(recipe, target, losses, by_parameters=by_parameters)
    _check_noise(recipe, losses, reads_noise=bool(noises_of(transfer.generator)))
    _check_fields(recipe, generator_losses, discriminator_losses)

    def augmentation(part: Part | None) -> Any:
        return None if part is None else registry.build("augmentation", part)

    experiment = Experiment(
        config=recipe.train,
        registry=registry,
        source=source,
        target=unlabelled_target,
        transfer=transfer,
        discriminator=discriminator,
        generator_losses=generator_losses,
        discriminator_losses=discriminator_losses,
        source_augmentation=augmentation(recipe.source_augmentation),
        target_augmentation=augmentation(recipe.target_augmentation),
        view=augmentation(recipe.view),
        discriminator_view=augmentation(recipe.discriminator_view),
        align_features=recipe.align_features,
    )
    parts = _learning_parts(experiment, recipe, registry)
    check_for_evaluators(parts, oracle=recipe.oracle)
    _check_adaptive(parts)
    if session.group.is_main:
        with evaluators_kept_out(oracle=recipe.oracle):
            fit_encoder(recipe, registry, transfer.encoder.encoder, source, target, session)
            transfer.generator.to(session.device).prepare(unlabelled_target, session.during("fit"))
        transfer.encoder.to(session.device).standardize(source, on_batch=session.during("encode").progress)
    if session.group.size > 1:
        transfer.load_state_dict(session.group.broadcast(transfer.state_dict()))
    return experiment


def _load_domains(recipe: Recipe, registry: Registry, session: Session) -> tuple[ImageSet, ImageSet]:
    """The training images of source and target. The main process goes first, so that the others find its cache."""
    data = session.during("data")
    data.progress(0, 2)
    with session.group.main_process_first():
        source = load_domain(registry, recipe.source, "train", recipe.image_size)
        data.progress(1, 2)
        target = load_domain(registry, recipe.target, "train", recipe.image_size)
    data.progress(2, 2)
    for name, images in (("source", source), ("target", target)):
        if len(images) < MIN_IMAGES:
            raise DomtransError(
                f"the {name} has {len(images)} training image, and training needs at least {MIN_IMAGES}: without them features "
                f"cannot be standardised or images compared; add images, or hold fewer back for the test split ({name}.holdout)"
            )
    if source.shape == target.shape and source.unlabelled().fingerprint() == target.unlabelled().fingerprint():
        data.note(2, 2, "source and target are the same images, so there is nothing to transfer; check source and target")
    return source, target


def _check_parts_fit(recipe: Recipe, source: ImageSet, transfer: Transfer, discriminator: Discriminator) -> None:
    """Raise DomtransError for a recipe whose parts or settings contradict one another."""
    if recipe.train.balance_source and recipe.fit is not None and source.labels is None and not source.attributes:
        notes = "".join(f"; {note}" for note in source.notes)
        raise DomtransError(
            f"the source ({source.about or recipe.source.name}) has no labels, and this recipe trains f on its classes: "
            "give every class its own subfolder, or a label file with the columns file and label (domtrans inspect shows how "
            "the data is read). To train without labels, choose an f that needs none, train.balance_source=false and "
            f"discriminator.classes=0 (docs/data.md){notes}"
        )
    if recipe.train.balance_source and set(transfer.encoder.encoder.heads) != {"class"}:
        raise DomtransError(
            "train.balance_source needs an encoder with one classification head; set it to false or change the encoder"
        )
    wanted, classes = discriminator.condition_classes, transfer.encoder.classes()
    if wanted and wanted != classes:
        raise DomtransError(
            f"the discriminator '{recipe.discriminator.name}' is conditioned on {wanted} classes, but f's head has {classes}; "
            f"set its option classes to {classes}, or to 0 for a discriminator without a condition"
        )
    if recipe.align_features and transfer.generator.reads_images:
        raise DomtransError(
            f"align_features=true moves features, but the generator '{recipe.generator.name}' takes images; "
            "set align_features=false"
        )


def _check_parameters(recipe: Recipe, target: ImageSet, losses: tuple[WeightedLoss, ...], *, by_parameters: bool) -> None:
    """Raise DomtransError for a loss of parameters without a g or a target that has them."""
    for item in losses:
        read = item.loss.reads & PARAMETER_FIELDS
        if read and not by_parameters:
            raise DomtransError(
                f"the loss '{item.term.name}' reads the parameters of G(x), but the generator '{recipe.generator.name}' draws "
                "pixels; choose the generator 'parameters', or remove the loss"
            )
        if "target_parameters" in read and target.parameters is None:
            raise DomtransError(
                f"the loss '{item.term.name}' reads the parameters of the target's drawings, which the domain "
                f"'{recipe.target.name}' does not give; choose a target that an engine draws, such as 'avatars'"
            )


def _check_noise(recipe: Recipe, losses: tuple[WeightedLoss, ...], *, reads_noise: bool) -> None:
    """Raise DomtransError for a loss that compares transfers with different noise, without a g that reads noise."""
    for item in losses:
        if "source_second_fake" in item.loss.reads and not reads_noise:
            raise DomtransError(
                f"the loss '{item.term.name}' compares two transfers of an image, and the generator '{recipe.generator.name}' "
                "makes one, because it reads no noise; set generator.noise=8, or remove the loss"
            )


def _check_fields(recipe: Recipe, of_g: tuple[WeightedLoss, ...], of_d: tuple[WeightedLoss, ...]) -> None:
    """Raise DomtransError for a loss that reads what this recipe does not compute, so that it is found before the training."""
    for item in (*of_g, *of_d):
        if "align" in item.loss.reads and not recipe.align_features:
            raise DomtransError(
                f"the loss '{item.name}' ({item.term.name}) aligns features, and the recipe has align_features=false; set it "
                "to true, or change the loss (aligned=false)"
            )
        alone = recipe.train.updates == "separate" and "target" in item.loss.reads
        if "source_second_fake" in item.loss.reads and (alone or item in of_d):
            raise DomtransError(
                f"the loss '{item.name}' ({item.term.name}) trains g, and compares transfers with target images of the same "
                "batch; move it to generator_losses, and set train.updates=joint"
            )


def _check_adaptive(parts: Mapping[str, object]) -> None:
    """Raise DomtransError for an augmentation that adapts to D where it cannot observe D."""
    for path, part in parts.items():
        adaptive = find_held(part, AdaptiveAugmentation)  # type: ignore[type-abstract]
        if adaptive is not None and (path != "discriminator_view" or adaptive is not part):
            raise DomtransError(
                f"{path} holds an augmentation that adapts to D ({type(adaptive).__name__}), which works only as the "
                "discriminator_view itself; choose another augmentation there"
            )


def _learning_parts(experiment: Experiment, recipe: Recipe, registry: Registry) -> dict[str, object]:
    """All parts that f, g and D learn with, by their path in the recipe."""
    terms = {"generator_losses": experiment.generator_losses, "discriminator_losses": experiment.discriminator_losses}
    views = ("source_augmentation", "target_augmentation", "view", "discriminator_view")
    fits = {name: part for name in ("fit", "adapt") if (part := getattr(recipe, name)) is not None}
    return {
        **{f"{field}.{item.name}": item.loss for field, items in terms.items() for item in items},
        **{name: getattr(experiment, name) for name in views},
        **{name: registry.build("fit", part) for name, part in fits.items()},
        "encoder": experiment.transfer.encoder.encoder,
        "generator": experiment.transfer.generator,
        "discriminator": experiment.discriminator,
    }
