"""The way from the paper's setting to the best recipe, a step a row: what each difference is worth."""

from __future__ import annotations

from domtrans import Column, Row, Table
from domtrans_digits.study.common import FAITHFUL, Changes, Common

STEPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("as-long", "The paper's setting, with as many steps and images as the best recipe.", ("train.steps", "train.batch_size")),
    (
        "spectral-d",
        "Spectral norm in D instead of batch norm; D and L_GANG begin when g draws something at all.",
        ("discriminator.norm", "generator_losses.gan", "discriminator_losses.gan"),
    ),
    (
        "rates",
        "Adam's rates and their decay, and a running average of g's weights.",
        ("train.generator_optimizer", "train.discriminator_optimizer", "train.ema"),
    ),
    (
        "kl-const",
        "The const loss compares what f's own head says of x and of G(x), and L_TID weighs more.",
        ("generator_losses.const", "generator_losses.tid"),
    ),
    ("views", "f sees G(x) through random views.", ("view",)),
    ("even-source", "Source images are drawn evenly over what f says of them.", ("train.balance_source",)),
    ("learning-f", "f learns from target images too, without their labels.", ("fit", "adapt", "encoder.even_contrast")),
    ("told-d", "D is told what f sees in x.", ("discriminator.classes",)),
    ("moved-source", "f and g see each source image a little moved and recoloured.", ("source_augmentation",)),
)
"""The name of a row, what it changes, and the settings that it takes over from the best recipe for that."""


def path(common: Common) -> Table:
    """From the paper's setting to the best recipe; a row holds all that the rows above it have changed."""
    best = common.best()
    rows: list[Row] = [common.row("paper", "The paper's setting as written.", recipe=FAITHFUL)]
    taken: Changes = {}
    for name, about, settings in STEPS:
        taken = taken | {setting: common.setting(setting) for setting in settings}
        rows.append(common.row(name, about, taken, recipe=FAITHFUL))
    return Table(
        title="From the paper's setting to the best recipe",
        about="Each row changes one thing more than the row above it; the best recipe's networks may be of another width. What "
        "a step is worth depends on what is there already: in another order the figures would be others. Measured as above.",
        columns=(
            Column("accuracy", "accuracy"),
            Column("f consistency", "f_consistency"),
            Column("diversity", "diversity", percent=False),
        ),
        rows=(*rows, best),
    )
