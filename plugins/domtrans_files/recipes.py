"""The recipe for your own images, which chooses by what it sees of them."""

from __future__ import annotations

from typing import Any

from domtrans import DomainFacts, EncoderPart, OptimizerConfig, Recipe, TrainConfig, term, use

SMALL_SIDE_PIXELS = 48
"""Images below this side are trained at 32 pixels."""
MIN_CLASS_IMAGES = 20
"""Images of the rarest class, at least, so that f is fitted as a classifier."""
FEW_IMAGES = 400
"""Training images of a domain below which batches are smaller, and D sees augmented images."""
MAX_PASSES = 60
"""Times that the fit of f without labels sees each image, at most."""


def folders_dtn(source: DomainFacts | None, target: DomainFacts | None) -> Recipe:
    """Any two folders of images: ``source.path=A target.path=B``. The settings follow from what the folders hold.

    f gives maps, so the layout of x can reach G(x). With classes in the source, f is fitted as a classifier of them; else
    without labels, on the images of both folders. What was chosen is in ``choices``, and any option may be set instead.
    """
    sides = [facts.side for facts in (source, target) if facts is not None and facts.side is not None]
    size = 32 if sides and min(sides) < SMALL_SIDE_PIXELS else 64
    counts = [facts.images for facts in (source, target) if facts is not None]
    few = bool(counts) and min(counts) < FEW_IMAGES
    batch = 8 if few else 16
    channels = max((facts.channels for facts in (source, target) if facts is not None), default=3)
    by_classes = source is not None and has_classes(source)
    return Recipe(
        name="folders-dtn",
        description="two folders of images; chooses f, sizes and batches by what it sees",
        choices=() if source is None or target is None else tuple(in_words(source, target, size, batch, few=few)),
        image_size=size,
        source=use("folder"),
        target=use("folder"),
        encoder=EncoderPart.model_validate(
            {"name": "map-encoder", "stride": size // 8, "depth": 2, "channels": max(channels, 3)}
        ),
        fit=use("classifier", view=VIEW) if by_classes else use("self-supervised", steps=fit_steps(sum(counts)), batch_size=32),
        view=use("chain", steps=[use("warp", rotate=0.1, scale=0.1, shear=0.05, shift=0.05), use("blur"), use("noise")]),
        discriminator_view=use("diff-augment", policy=["colour", "translation"]) if few else None,
        align_features=True,
        generator=use("map-generator", width=24),
        discriminator=use("patch-discriminator", width=32),
        generator_losses={
            "gan": term("ternary-generator", weight=2, start=0.05),
            "const": term("feature-consistency", weight=0.5, distance="mse"),
            "tid": term("target-identity", weight=5, distance="l1"),
        },
        discriminator_losses={"gan": term("ternary-discriminator", start=0.05)},
        metrics={"realism": use("image-realism"), "content": use("content")},
        train=TrainConfig(
            steps=3000,
            batch_size=batch,
            generator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            discriminator_optimizer=OptimizerConfig(lr=2e-3, schedule="cosine"),
            ema=0.995,
            validate_every=500,
        ),
    )


def photos_dtn(source: DomainFacts | None, target: DomainFacts | None) -> Recipe:
    """The old name of ``folders-dtn``."""
    return folders_dtn(source, target).model_copy(update={"name": "photos-dtn", "description": "the old name of folders-dtn"})


VIEW: dict[str, Any] = use(
    "chain", steps=[use("warp", rotate=0.1, scale=0.15, shear=0.05, shift=0.1), use("flip"), use("noise")]
).model_dump()
"""Augmentation while f is fitted as a classifier."""


def has_classes(facts: DomainFacts) -> bool:
    """Whether there are classes enough to fit f as their classifier."""
    return len(facts.classes) > 1 and min(facts.classes.values()) >= MIN_CLASS_IMAGES


def fit_steps(images: int) -> int:
    """Steps of 32 images of each domain that fit f without labels: 600, fewer for few images."""
    return 600 if not images else max(100, min(600, MAX_PASSES * images // 64))


def in_words(source: DomainFacts, target: DomainFacts, size: int, batch: int, *, few: bool) -> list[str]:
    """What was seen, and what was chosen for it, in two sentences."""
    seen = f"seen: source {facts_in_words(source)}; target {facts_in_words(target)}"
    if has_classes(source):
        f = f"f as a classifier of the source's {len(source.classes)} classes"
    elif len(source.classes) > 1:
        f = f"f without labels, because a class of the source has fewer than {MIN_CLASS_IMAGES} images"
    else:
        f = "f without labels, on the images of both"
    augmented = "; D sees augmented images" if few else ""
    return [seen, f"chosen: {f}; images of {size} pixels, batches of {batch}{augmented}"]


def facts_in_words(facts: DomainFacts) -> str:
    """What a domain holds, e.g. "400 colour images of about 250 pixels, 3 classes"."""
    colours = {1: "grey", 3: "colour"}.get(facts.channels, f"{facts.channels}-channel")
    side = "" if facts.side is None else f" of about {facts.side} pixels"
    return f"{facts.images:,} {colours} images{side}, {len(facts.classes) or 'no'} classes"
