"""Recipes for your own images."""

from __future__ import annotations

from domtrans import EncoderPart, OptimizerConfig, Recipe, TrainConfig, term, use


def photos_dtn() -> Recipe:
    """Any two folders of images, without labels: ``source.path=A target.path=B``.

    f is a pretrained network, so L_CONST keeps what the network recognises, not the layout of a scene. The weights are
    downloaded once; without a network, give a file with ``encoder.path``. The generator draws 64 x 64 pixels.
    """
    return Recipe(
        name="photos-dtn",
        description="two folders of images, without labels",
        image_size=64,
        source=use("folder"),
        target=use("folder"),
        encoder=EncoderPart.model_validate({"name": "timm", "model": "resnet18", "pretrained": True}),
        fit=None,
        view=use("chain", steps=[use("warp", rotate=0.25, scale=0.15, shear=0.15, shift=0.1), use("blur"), use("noise")]),
        generator=use("face-generator", width=32),
        discriminator=use("face-discriminator", width=32),
        generator_losses={
            "gan": term("ternary-generator", start=0.05),
            "const": term("feature-consistency", weight=10, distance="cosine"),
            "tid": term("target-identity", weight=20, distance="l1"),
            "tv": term("total-variation", weight=3e-4, form="absolute"),
        },
        discriminator_losses={"gan": term("ternary-discriminator", start=0.05)},
        metrics={"realism": use("image-realism")},
        train=TrainConfig(
            steps=5000,
            batch_size=32,
            generator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            discriminator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            ema=0.995,
            validate_every=500,
        ),
    )
