"""Recipes of the digit experiment. A recipe is a function that returns the whole experiment."""

from __future__ import annotations

from domtrans import EncoderPart, OptimizerConfig, Recipe, TrainConfig, term, use

OTHER_SHAPES = use("chain", steps=[use("warp", rotate=0.2, scale=0.2, shear=0.2, shift=0.08), use("stroke")])
"""Augmentation of source digits. Other fonts and hands have other shapes than the training images, and g should see some."""


def digits_dtn() -> Recipe:
    """House numbers to handwriting, unsupervised: offline, in a few minutes on two CPU cores."""
    base = _shared()
    losses = {
        "const": term("feature-consistency", weight=4, distance=use("cross-entropy", sharpen=3)),
        "tv": term("total-variation", weight=0.001, form="absolute"),
    }
    changes = {
        "name": "digits-dtn",
        "description": "house numbers to handwritten digits, unsupervised",
        "source_augmentation": OTHER_SHAPES,
        "align_features": True,
        "discriminator": use("digit-discriminator", width=32, norm="spectral", classes="auto"),
        "generator_losses": base.generator_losses | losses,
    }
    return base.model_copy(update=changes)


def _shared() -> Recipe:
    """What the recipes between two domains of digits begin with."""
    strong_warp = {"rotate": 0.3, "scale": 0.2, "shear": 0.3, "shift": 0.12, "elastic": 0.05}
    handwriting_view = use("chain", steps=[use("warp", **strong_warp), use("stroke"), use("paint"), use("blur"), use("noise")])
    street_view = use(
        "chain",
        steps=[use("warp", **strong_warp | {"scale": 0.25}), use("stroke"), use("recolour"), use("blur"), use("noise")],
    )
    return Recipe(
        name="digits",
        description="digits, unsupervised",
        source=use("street-digits"),
        target=use("mnist-5k"),
        encoder=EncoderPart(name="digit-encoder", options={"even_contrast": True}),
        fit=use(
            "self-training",
            steps=800,
            batch_size=96,
            lr=1.5e-3,
            begin=0.2,
            source_view=street_view,
            target_view=handwriting_view,
            weak_view=use("warp", rotate=0.08, scale=0.05, shear=0.05, shift=0.06),
        ),
        view=handwriting_view,
        generator=use("digit-generator", width=48),
        discriminator=use("digit-discriminator", width=32, norm="spectral", classes=0),
        generator_losses={
            "gan": term("ternary-generator", start=0.1),
            "const": term("feature-consistency", weight=2, distance="cross-entropy"),
            "tid": term("target-identity", weight=30),
        },
        discriminator_losses={"gan": term("ternary-discriminator", start=0.1)},
        metrics={"digits": use("digit-accuracy")},
        train=TrainConfig(
            steps=700,
            batch_size=64,
            generator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            discriminator_optimizer=OptimizerConfig(lr=1e-3, schedule="cosine"),
            balance_source=True,
        ),
    )


def svhn_dtn() -> Recipe:
    """Real house numbers (SVHN) to MNIST: digits-dtn adapted to photographs, with two residual networks as f."""
    base = digits_dtn()
    assert base.fit is not None
    colours = [use("recolour"), use("blur"), use("noise", amount=0.05)]
    cutout = use("diff-augment", policy=["cutout"], cut=0.35)
    warp = use("warp", rotate=0.12, scale=0.12, shear=0.12, shift=0.08)
    fit = base.fit.options | {
        "steps": 4000,
        "batch_size": 64,
        "lr": 2e-3,
        "begin": 0.5,
        "decay": 0.995,
        "source_view": use("chain", steps=[warp, *colours, cutout]),
    }
    member = use("digit-resnet", width=2, cells=2, dropout=0.3)
    const = base.generator_losses["const"].model_copy(update={"weight": 8.0})
    changes = {
        "name": "svhn-dtn",
        "description": "real house numbers (SVHN) to MNIST digits, unsupervised",
        "source": use("svhn"),
        "target": use("mnist"),
        "encoder": EncoderPart(name="ensemble", options={"encoders": [member, member]}),
        "fit": use("each", of=use(base.fit.name, **fit)),
        "source_augmentation": use("chain", steps=[warp, *colours]),
        "generator_losses": base.generator_losses | {"const": const},
        "train": base.train.model_copy(update={"steps": 2000, "ema": 0.995}),
    }
    return base.model_copy(update=changes)


def digits_dtn_paper() -> Recipe:
    """The paper's digit experiment as written: MSE for d and d_2, alpha 15, beta 15, Adam."""
    return Recipe(
        name="digits-dtn-paper",
        description="the digit DTN as the paper writes it",
        source=use("street-digits"),
        target=use("mnist-5k"),
        encoder=EncoderPart(name="digit-encoder"),
        fit=use("classifier"),
        generator=use("digit-generator"),
        discriminator=use("digit-discriminator", norm="batch"),
        generator_losses={
            "gan": term("ternary-generator"),
            "const": term("feature-consistency", weight=15, distance="mse"),
            "tid": term("target-identity", weight=15, distance="mse"),
        },
        discriminator_losses={"gan": term("ternary-discriminator")},
        metrics={"digits": use("digit-accuracy")},
        train=TrainConfig(steps=600, ema=0.0),
    )


def mnist_to_street() -> Recipe:
    """Handwriting to rendered house numbers, offline: digits-dtn in the other direction, with noise z.

    f does not see colour, so many house numbers are right for a digit. L_TID would ask for their mean, grey, and is left out.
    House numbers vary more than handwriting, so f adapts to them for longer than in digits-dtn, and g learns for longer, with
    the objective that learns fastest.
    """
    base = _pair("mnist-to-street", "handwritten digits to rendered house numbers", "mnist-5k", "street-digits")
    assert base.fit is not None
    losses = {
        "gan": term("relativistic-generator", start=0.1),
        "const": digits_dtn().generator_losses["const"],
        "varied": term("mode-seeking", weight=5, share=0.5),
    }
    changes = {
        "adapt": use(base.fit.name, **base.fit.options | {"steps": 400, "lr": 1e-3, "begin": 0.0}),
        "source_augmentation": OTHER_SHAPES,
        "align_features": True,
        "generator": use("digit-generator", width=48, noise=16),
        "discriminator": use("digit-discriminator", width=32, norm="spectral", classes="auto", minibatch_deviation=True),
        "generator_losses": losses,
        "discriminator_losses": {"gan": term("relativistic-discriminator", start=0.1)},
        "metrics": base.metrics | {"variety": use("variety")},
        "train": base.train.model_copy(update={"steps": 1400}),
    }
    return base.model_copy(update=changes)


def svhn_to_street() -> Recipe:
    """Real house numbers (SVHN) to rendered ones."""
    return _pair("svhn-to-street", "real house numbers to rendered ones", "svhn", "street-digits")


def street_to_svhn() -> Recipe:
    """Rendered house numbers to real ones (SVHN)."""
    return _pair("street-to-svhn", "rendered house numbers to real ones", "street-digits", "svhn")


def usps_to_mnist() -> Recipe:
    """Postal digits (USPS) to MNIST."""
    return _pair("usps-to-mnist", "USPS digits to MNIST digits", "usps", "mnist")


def mnist_to_usps() -> Recipe:
    """MNIST to postal digits (USPS)."""
    return _pair("mnist-to-usps", "MNIST digits to USPS digits", "mnist", "usps")


HOUSE_NUMBERS = {"street-digits", "svhn"}


def _pair(name: str, description: str, source: str, target: str) -> Recipe:
    """Two other domains of digits; each gets the augmentation of its kind, photograph or handwriting."""
    base = _shared()
    assert base.fit is not None
    street, handwriting = base.fit.options["source_view"], base.fit.options["target_view"]
    views = {domain: street if domain in HOUSE_NUMBERS else handwriting for domain in (source, target)}
    fit_views = {"source_view": views[source], "target_view": views[target]}
    changes = {
        "name": name,
        "description": description,
        "source": use(source),
        "target": use(target),
        "fit": use(base.fit.name, **base.fit.options | fit_views),
        "view": views[target],
    }
    return base.model_copy(update=changes)
