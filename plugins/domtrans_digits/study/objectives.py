"""Other objectives and regularisers of D, one row each."""

from __future__ import annotations

from collections.abc import Mapping

from domtrans import Column, Table
from domtrans_digits.study.common import Changes, CommonSettings

START = 0.1
"""Share of the run after which the adversarial terms begin, as in the best recipe."""


def objective(name: str) -> Changes:
    """The two adversarial terms of another objective."""
    return {f"{side}_losses.gan": {"name": f"{name}-{side}", "start": START} for side in ("generator", "discriminator")}


def regulariser(name: str, loss: str, weight: float, **options: str) -> Changes:
    """A term for D beside its adversarial one."""
    return {f"discriminator_losses.{name}": {"name": loss, "weight": weight, "start": START, **options}}


R1 = regulariser("r1", "gradient-penalty", 1.0)
R2 = regulariser("r2", "gradient-penalty", 1.0, images="generated")
D_RATE = "train.discriminator_optimizer.lr"

OBJECTIVES: Mapping[str, tuple[str, Changes]] = {
    "least-squares": ("Least squares.", objective("least-squares")),
    "hinge": ("Hinge.", objective("hinge")),
    "relativistic": ("Relativistic pairs.", objective("relativistic")),
    "r3gan": (
        "Relativistic pairs with R1 and R2, and no norm in D (R3GAN).",
        objective("relativistic") | R1 | R2 | {"discriminator.norm": "none"},
    ),
    "r1": ("R1 alone.", R1),
    "r1-no-norm": ("R1, and no norm in D.", R1 | {"discriminator.norm": "none"}),
    "lecam": ("LeCam.", regulariser("lecam", "lecam", 0.01)),
    "diff-augment": ("D sees augmented images.", {"discriminator_view": "diff-augment"}),
    "adaptive": (
        "D sees augmented images as often as it over-fits.",
        {"discriminator_view": {"name": "adaptive", "ramp": 500}},
    ),
    "minibatch-deviation": ("D sees how much the images of a batch differ.", {"discriminator.minibatch_deviation": True}),
    "two-time-scale": ("D learns four times as fast as g.", {D_RATE: 4e-3}),
}
"""By name: a sentence, and changes to the best recipe."""


def objectives(common: CommonSettings) -> Table:
    """What D and g minimise against each other, and what D sees."""
    width = 8 if common.quick else common.recipe.discriminator.options["width"]
    features: Changes = {"discriminator": {"name": "feature-discriminator", "classes": "auto", "width": width}}
    rows = {**OBJECTIVES, "feature-d": ("D on the features of fixed random networks.", features)}
    return Table(
        title="Objectives",
        about="The best recipe with another adversarial part, measured as above. Weights and rates were not searched.",
        columns=(
            Column("accuracy", "accuracy"),
            Column("f consistency", "f_consistency"),
            Column("FID", "fid", percent=False),
            Column("KID", "kid", percent=False),
            Column("diversity", "diversity", percent=False),
        ),
        rows=(common.best(), *(common.row(name, *row) for name, row in rows.items())),
    )
