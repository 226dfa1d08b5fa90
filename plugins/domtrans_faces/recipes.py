"""Recipes of the face experiment: faces to avatars."""

from __future__ import annotations

from domtrans import EncoderPart, OptimizerConfig, Recipe, TrainConfig, term, use

AVATARS = {name: use(name) for name in ("attribute-agreement", "avatar-diversity", "avatar-realism")}

ALIKE = term("feature-consistency", weight=10, distance="cosine")
"""L_CONST for an f that tells no attributes: its features are compared, as in the study."""

HEEDED = {"facial_hair": 2.0, "glasses": 2.0, "mouth": 0.3, "eyes": 0.3, "brows": 0.2}
"""How much g heeds attributes: those that are small but can be read more, those that f can hardly read less."""

NATURAL = {"black": 3.0, "brown": 3.0, "blond": 2.0, "red": 1.0, "grey": 2.0}
"""Shares of hair colours for avatars of photographed people, few of whom have it blue."""


def faces_dtn() -> Recipe:
    """Drawn portraits to avatars with the same skin, hair, glasses and beard: offline, on one CPU core, in minutes."""
    moved = use("warp", rotate=0.25, scale=0.15, shear=0.15, shift=0.1)
    view = use("chain", steps=[moved, use("blur"), use("noise", amount=0.08)])
    return Recipe(
        name="faces-dtn",
        description="drawn portraits to avatars of the same looks, unsupervised",
        image_size=64,
        source=use("portraits"),
        target=use("avatars"),
        encoder=EncoderPart(name="attributes"),
        fit=use(
            "self-training",
            steps=1200,
            batch_size=48,
            lr=2e-3,
            begin=0.4,
            weight=0.5,
            even=0.1,
            shares="source",
            label_smoothing=0.05,
            source_view=view,
            target_view=view,
            weak_view=use("warp", rotate=0.05, scale=0.05, shear=0.02, shift=0.03),
        ),
        view=view,
        generator=use("face-generator", width=32),
        discriminator=use("face-discriminator", width=32, classes=32),
        generator_losses={
            "gan": term("ternary-generator", start=0.05),
            "const": term("feature-consistency", distance=use("attributes", sharpen=2, weights=HEEDED)),
            "tid": term("target-identity", weight=20, distance="l1"),
            "tv": term("total-variation", weight=3e-4, form="absolute"),
        },
        discriminator_losses={"gan": term("ternary-discriminator", start=0.05)},
        metrics=AVATARS,
        train=TrainConfig(
            steps=4000,
            batch_size=32,
            generator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            discriminator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            ema=0.995,
        ),
    )


def faces_dtn_paper() -> Recipe:
    """The face experiment as paper and study write it: 96 pixels, MSE of features and pixels, alpha 100, beta 1, gamma 0.05.

    Their f, a face recogniser, is taken by name, e.g. ``encoder=sphereface encoder.path=FILE fit=none``; as it stands, f is
    a classifier of the portraits' attributes.
    """
    adam = OptimizerConfig(lr=2e-4, weight_decay=1e-6)
    return Recipe(
        name="faces-dtn-paper",
        description="the face DTN as the paper and the study write it",
        image_size=96,
        source=use("portraits"),
        target=use("avatars"),
        encoder=EncoderPart(name="attributes"),
        fit=use("classifier"),
        generator=use("face-generator", width=128, mixing=True, last="transposed"),
        discriminator=use("face-discriminator", width=64, norm="batch"),
        generator_losses={
            "gan": term("ternary-generator"),
            "const": term("feature-consistency", weight=100, distance="mse"),
            "tid": term("target-identity", weight=1, distance="mse"),
            "tv": term("total-variation", weight=0.05),
        },
        discriminator_losses={"gan": term("ternary-discriminator")},
        metrics=AVATARS,
        train=TrainConfig(steps=10_000, batch_size=128, generator_optimizer=adam, discriminator_optimizer=adam, ema=0.0),
    )


def faces_reconstruct() -> Recipe:
    """Avatars from their own features (the study's figure 7): L_TID ten times as heavy, and no L_CONST.

    How much of an avatar f passes on; ``generator_losses.tid.distance`` is mse, cosine, or weighted for both.
    """
    paper = faces_dtn_paper()
    losses = {name: paper.generator_losses[name] for name in ("gan", "tv")} | {"tid": term("target-identity", weight=10)}
    description = "avatars drawn again from f's features, to see what those hold"
    return paper.model_copy(update={"name": "faces-reconstruct", "description": description, "generator_losses": losses})


def lfw_looks_dtn() -> Recipe:
    """Photographs of people to avatars of the same looks: skin, glasses, beard, length and colour of hair.

    Needs ``source.of.path``, a copy of LFW, and ``encoder.backbone.path``, MobileFaceNet's weights. f reads what MobileFaceNet
    sees inside, and has learned to from labelled photographs and portraits.
    """
    base = faces_dtn()
    # What f was not taught of photographs, or cannot read in avatars, is left to D.
    heeded = {"facial_hair": 2.0, "glasses": 2.0, "mouth": 0.3, "eyes": 0.0, "brows": 0.0, "hair_style": 0.2}
    # Beside what can be said of each face, faces are to differ as the photographs do.
    both = [{"name": "attributes", "sharpen": 2.0, "weights": heeded}, "contrastive"]
    # Of a face that moves far, a recogniser sees something else.
    moved = use("warp", rotate=0.05, scale=0.05, shear=0.05, shift=0.03)
    judge = base.train.discriminator_optimizer.model_copy(update={"lr": 3e-4})
    changes = {
        "name": "lfw-looks-dtn",
        "description": "photographs to avatars of the same looks",
        "source": use("extended", of=use("lfw"), by=[use("portraits", count=2500)]),
        "target": use("avatars", shares={"hair_colour": NATURAL}, count=3000),
        "encoder": EncoderPart(name="attribute-probe", options={"beside": {"name": "colour-grid", "fields": 1, "crop": 0.35}}),
        "fit": use("probe"),
        "view": use("chain", steps=[moved, use("blur"), use("noise", amount=0.08)]),
        "align_features": True,
        "discriminator": use("face-discriminator", width=32),
        "generator_losses": base.generator_losses
        | {"const": term("feature-consistency", start=0.08, distance=use("weighted", terms=both, weights=[1.0, 0.5]))},
        "metrics": AVATARS | {name: use(name) for name in ("f-reading", "identity-retrieval", "photo-likeness")},
        "train": base.train.model_copy(update={"steps": 1800, "batch_size": 16, "discriminator_optimizer": judge}),
    }
    return base.model_copy(update=changes)


def lfw_dtn() -> Recipe:
    """Photographs of people to avatars in which a face recogniser still tells them apart.

    Needs ``source.path``, a copy of LFW, and ``encoder.path``, MobileFaceNet's weights; other recognisers go by name.
    """
    base = faces_dtn()
    # A recogniser is sensitive to where a face stands, so its view moves little; D is kept from winning by what nobody sees.
    moved = use("warp", rotate=0.05, scale=0.05, shear=0.05, shift=0.03)
    told_apart = use("weighted", terms=["contrastive", "cosine"], weights=[1.0, 0.5])
    judge = base.train.discriminator_optimizer.model_copy(update={"lr": 2e-4})
    changes = {
        "name": "lfw-dtn",
        "description": "photographs to avatars in which a recogniser finds the person",
        "source": use("lfw"),
        "target": use("avatars", shares={"hair_colour": NATURAL}),
        "encoder": EncoderPart(name="mobilefacenet"),
        "fit": None,
        "view": use("chain", steps=[moved, use("blur"), use("noise", amount=0.08)]),
        "discriminator_view": use("noise", amount=0.3),
        "discriminator": use("face-discriminator"),
        "generator_losses": base.generator_losses
        | {
            "const": term("feature-consistency", weight=3, start=0.1, distance=told_apart),
            "tid": term("target-identity", weight=30),
        },
        "metrics": {name: use(name) for name in ("identity-retrieval", "photo-likeness", "avatar-diversity")},
        "train": base.train.model_copy(update={"steps": 600, "batch_size": 16, "ema": 0.99, "discriminator_optimizer": judge}),
    }
    return base.model_copy(update=changes)
