"""Recipes of the face experiments: faces to avatars."""

from __future__ import annotations

from domtrans import EncoderPart, OptimizerConfig, Recipe, TrainConfig, term, use

AVATAR_METRICS = {name: use(name) for name in ("attribute-agreement", "avatar-diversity", "avatar-realism")}

COSINE_CONST = term("feature-consistency", weight=10, distance="cosine")
"""L_CONST for an f without attribute heads: a distance of features, as in the study."""

ATTRIBUTE_WEIGHTS = {"facial_hair": 2.0, "glasses": 2.0, "mouth": 0.3, "eyes": 0.3, "brows": 0.2}
"""Weights in L_CONST: higher for small attributes that f recognises, lower for those that f hardly recognises."""

NATURAL_HAIR = {"black": 3.0, "brown": 3.0, "blond": 2.0, "red": 1.0, "grey": 2.0}
"""Shares of natural hair colours, for avatars of photographed people."""

PHOTOGRAPHED = {
    "skin": {"light": 0.851, "medium": 0.108, "dark": 0.041},
    "facial_hair": {"no": 0.878, "yes": 0.122},
    "glasses": {"no": 0.806, "yes": 0.194},
    "hair_length": {"none": 0.082, "short": 0.655, "medium": 0.152, "long": 0.112},
    "hair_colour": {"black": 0.277, "brown": 0.365, "blond": 0.099, "red": 0.012, "grey": 0.248},
    "mouth": {"smile": 0.387, "neutral": 0.339, "open": 0.274},
}
"""Shares of the values among the labels of lfw's training photographs, as ``benchmarks/fid_parts.py`` prints them."""


def _shared() -> Recipe:
    """What the recipes of faces have in common: an f with heads for attributes, the paper's ternary D and its losses."""
    strong_warp = use("warp", rotate=0.25, scale=0.15, shear=0.15, shift=0.1)
    view = use("chain", steps=[strong_warp, use("blur"), use("noise", amount=0.08)])
    return Recipe(
        name="faces-dtn",
        description="drawn portraits to avatars with the same attributes, unsupervised",
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
            "const": term("feature-consistency", distance=use("attributes", sharpen=2, weights=ATTRIBUTE_WEIGHTS)),
            "tid": term("target-identity", weight=20, distance="l1"),
            "tv": term("total-variation", weight=3e-4, form="absolute"),
        },
        discriminator_losses={"gan": term("ternary-discriminator", start=0.05)},
        metrics=AVATAR_METRICS,
        train=TrainConfig(
            steps=4000,
            batch_size=32,
            generator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            discriminator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            ema=0.995,
        ),
    )


def faces_dtn() -> Recipe:
    """Drawn portraits to avatars with the same skin, hair, glasses and beard; offline, in less than an hour on a CPU core."""
    base = _shared()
    changes = {
        # g learns most from L_TID, so that it must find source features where it knows those of the target.
        "align_features": True,
        "generator": use("face-generator", width=32, colours=16),
        "generator_losses": base.generator_losses | {"gan": term("relativistic-generator", start=0.05)},
        "discriminator_losses": {"gan": term("relativistic-discriminator", start=0.05)},
        # Many steps of small batches draw better than few of large ones.
        "train": base.train.model_copy(update={"steps": 12_000, "batch_size": 16}),
    }
    return base.model_copy(update=changes)


def avatars_dtn() -> Recipe:
    """Drawn portraits to avatars by parameters: clean drawings that can be enlarged and edited; offline, on a CPU."""
    base = _shared()
    view = use(
        "chain", steps=[use("warp", rotate=0.12, scale=0.08, shear=0.08, shift=0.06), use("blur"), use("noise", amount=0.05)]
    )
    weights = {"facial_hair": 2.0, "glasses": 2.0, "eyes": 0.5, "brows": 0.5}
    changes = {
        "name": "avatars-dtn",
        "description": "drawn portraits to avatars by parameters",
        "source": use("extended", of=use("portraits", count=24_000), by=[use("avatars", count=4000)]),
        "encoder": EncoderPart(name="attributes", options={"depth": 2}),
        "fit": use("classifier", steps=3000, batch_size=64, lr=2e-3, label_smoothing=0.05, balance=1.0, view=view),
        "view": view,
        "align_features": True,  # for the reason given in faces-dtn
        "generator": use("parameters"),
        "discriminator_view": use("noise", amount=0.3),
        "generator_losses": {
            "gan": term("ternary-generator", weight=0.02, start=0.05),
            "const": term("feature-consistency", weight=0.1, distance=use("attributes", sharpen=2, weights=weights)),
            "tid": term("parameter-identity"),
            "balance": term("parameter-balance", weight=0.1),
        },
        "metrics": AVATAR_METRICS | {name: use(name) for name in ("matched-realism", "f-reading")},
        "train": base.train.model_copy(
            update={
                "steps": 600,
                "generator_optimizer": OptimizerConfig(lr=3e-3, schedule="cosine"),
                "discriminator_optimizer": OptimizerConfig(lr=2e-4, schedule="cosine"),
                "ema": 0.99,
            }
        ),
    }
    return base.model_copy(update=changes)


def faces_dtn_paper() -> Recipe:
    """The face experiment as in the paper and the study: 96 pixels, MSE for d and d_2, alpha 100, beta 1, gamma 0.05.

    By default f is a classifier of the portraits' attributes. Their f, a face recogniser, is selected with, e.g.,
    ``encoder=sphereface encoder.path=FILE fit=none``.
    """
    adam = OptimizerConfig(lr=2e-4, options={"weight_decay": 1e-6})
    return Recipe(
        name="faces-dtn-paper",
        description="the face DTN as described in the paper and the study",
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
        metrics=AVATAR_METRICS,
        train=TrainConfig(steps=10_000, batch_size=128, generator_optimizer=adam, discriminator_optimizer=adam, ema=0.0),
    )


def faces_reconstruct() -> Recipe:
    """Reconstruct avatars from their own features (the study's figure 7): ten times the weight of L_TID, and no L_CONST.

    It shows how much of an avatar f's features contain. ``generator_losses.tid.distance`` is mse, cosine, or weighted.
    """
    paper = faces_dtn_paper()
    losses = {name: paper.generator_losses[name] for name in ("gan", "tv")} | {"tid": term("target-identity", weight=10)}
    description = "avatars reconstructed from f's features, to show what these contain"
    return paper.model_copy(update={"name": "faces-reconstruct", "description": description, "generator_losses": losses})


def lfw_looks_dtn() -> Recipe:
    """Photographs of people to avatars with the same skin, glasses, beard, and length and colour of hair.

    Needs ``source.of.path``, a copy of LFW, and ``pip install 'domtrans[faces]'`` for the weights of dlib's recogniser. The
    attribute heads of f are fitted on its feature maps, with labelled photographs, portraits, and avatars, so that f
    recognises attributes in all of them.
    """
    base = _shared()
    # Attributes that are not labelled in photographs are left to D.
    weights = {"facial_hair": 2.0, "glasses": 2.0, "mouth": 1.0, "eyes": 0.0, "brows": 0.0, "hair_style": 0.2}
    # The contrastive term also asks for the differences between photographs that no attribute describes.
    both = [{"name": "attributes", "sharpen": 2.0, "weights": weights}, "contrastive"]
    skin_colour = {"name": "colour-grid", "fields": 1, "crop": 0.35}
    # A recogniser is sensitive to the position of a face, so that the augmentation moves it little.
    small_warp = use("warp", rotate=0.05, scale=0.05, shear=0.05, shift=0.03)
    slow = base.train.discriminator_optimizer.model_copy(update={"lr": 3e-4})
    changes = {
        "name": "lfw-looks-dtn",
        "description": "photographs to avatars with the same attributes",
        "source": use("extended", of=use("lfw"), by=[use("portraits", count=2500), use("avatars", count=1000, seed=1)]),
        "target": use("avatars", shares={"hair_colour": NATURAL_HAIR}, count=3000),
        "encoder": EncoderPart(name="attribute-probe", options={"beside": skin_colour}),
        "fit": use("probe", balance=1.0),
        "view": use("chain", steps=[small_warp, use("blur"), use("noise", amount=0.08)]),
        "align_features": True,
        "discriminator": use("face-discriminator", width=32),
        "generator_losses": base.generator_losses
        | {"const": term("feature-consistency", start=0.08, distance=use("weighted", terms=both, weights=[1.0, 0.5]))},
        "metrics": AVATAR_METRICS | {name: use(name) for name in ("f-reading", "identity-retrieval", "photo-likeness")},
        "train": base.train.model_copy(update={"steps": 1800, "batch_size": 16, "discriminator_optimizer": slow}),
    }
    return base.model_copy(update=changes)


def photo_avatars_dtn() -> Recipe:
    """Photographs of people to avatars by parameters: clean drawings that can be enlarged and edited.

    Needs what lfw-looks-dtn needs. g sees what f's heads predict, which means the same in photographs and in drawings.
    """
    looks, drawn = lfw_looks_dtn(), avatars_dtn()
    const = looks.generator_losses["const"].model_copy(update={"weight": 0.1, "start": 0.0})
    # The recogniser sees the face only; the colours of the whole image tell more about hair and skin.
    colours = {"name": "colour-grid", "fields": 8, "crop": 1.0, "levels": 3}
    seen = [{"name": "dlib-resnet", "features": "map"}, colours]
    linear = {"name": "attribute-probe", "backbone": {"name": "concat", "encoders": seen}, "features": 0}
    # A network that learns its own features reads hair better, and all else worse, skin much worse.
    network = {"name": "attributes", "depth": 2, "dropout": 0.3}
    by_head = {"skin": [1.0, 0.0], "hair_length": [1.0, 1.0], "hair_colour": [1.0, 1.0]}
    both = {"name": "ensemble", "encoders": [linear, network], "member_weights": [1.0, 0.5], "head_weights": by_head}
    moved = use("warp", rotate=0.15, scale=0.12, shear=0.1, shift=0.08)
    view = use("chain", steps=["flip", moved, "blur", use("noise", amount=0.05)])
    fits = [
        use("probe", steps=500, balance=1.0, weight_decay=15.0),
        use("classifier", steps=1500, batch_size=48, lr=2e-3, label_smoothing=0.05, balance=1.0, view=view),
    ]
    unlabelled = ["hair_style", "eyes", "brows"]  # in photographs
    changes = {
        "name": "photo-avatars-dtn",
        "description": "photographs to avatars by parameters",
        "source": use("extended", of=use("lfw"), by=[use("avatars", count=1000, seed=1)]),
        "target": use("avatars", shares=PHOTOGRAPHED, count=3000),
        "encoder": EncoderPart(name="predictions", options={"of": both, "hidden": unlabelled, "sharpen": 5.0}),
        "fit": use("each", fits=fits),
        "align_features": False,
        # Photographs are more alike for f than drawings are.
        "generator": use(
            "parameters", noise_frequency=4.0, temperature=1.0, followed=list(PHOTOGRAPHED), followed_temperature=0.25
        ),
        "discriminator_view": drawn.discriminator_view,
        "generator_losses": drawn.generator_losses | {"const": const},
        "metrics": looks.metrics | {"matched-realism": use("matched-realism")},
        "train": drawn.train.model_copy(update={"steps": 300, "batch_size": 16}),
    }
    return looks.model_copy(update=changes)


def lfw_dtn() -> Recipe:
    """Photographs of people to avatars in which a face recogniser still finds the person.

    Needs ``source.path``, a copy of LFW, and ``encoder.path``, the weights of MobileFaceNet; ``encoder`` selects other
    recognisers.
    """
    base = _shared()
    # A recogniser is sensitive to the position of a face, so that the augmentation moves it little. Noise on D's input hides
    # details that nobody sees, and by which D would win.
    small_warp = use("warp", rotate=0.05, scale=0.05, shear=0.05, shift=0.03)
    distance = use("weighted", terms=["contrastive", "cosine"], weights=[1.0, 0.5])
    slow = base.train.discriminator_optimizer.model_copy(update={"lr": 2e-4})
    changes = {
        "name": "lfw-dtn",
        "description": "photographs to avatars in which a recogniser finds the person",
        "source": use("lfw"),
        "target": use("avatars", shares={"hair_colour": NATURAL_HAIR}),
        "encoder": EncoderPart(name="mobilefacenet"),
        "fit": None,
        "view": use("chain", steps=[small_warp, use("blur"), use("noise", amount=0.08)]),
        "discriminator_view": use("noise", amount=0.3),
        "discriminator": use("face-discriminator"),
        "generator_losses": base.generator_losses
        | {
            "const": term("feature-consistency", weight=3, start=0.1, distance=distance),
            "tid": term("target-identity", weight=30),
        },
        "metrics": {name: use(name) for name in ("identity-retrieval", "photo-likeness", "avatar-diversity")},
        "train": base.train.model_copy(update={"steps": 600, "batch_size": 16, "ema": 0.99, "discriminator_optimizer": slow}),
    }
    return base.model_copy(update=changes)
