"""From the paper's setting to the best recipe, one change per row."""

from __future__ import annotations

from domtrans import Column, Row, Table
from domtrans_digits.study.common import FAITHFUL, Changes, CommonSettings

STEPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("as-long", "The paper's setting, with as many steps and images as the best recipe.", ("train.steps", "train.batch_size")),
    (
        "spectral-d",
        "Spectral norm in D instead of batch norm; L_D and L_GANG begin after 10 % of the run.",
        ("discriminator.norm", "generator_losses.gan", "discriminator_losses.gan"),
    ),
    (
        "rates",
        "Adam's learning rates and their decay, and an exponential moving average of g's weights.",
        ("train.generator_optimizer", "train.discriminator_optimizer", "train.ema"),
    ),
    (
        "kl-const",
        "L_CONST compares the predictions of f's own head for x and G(x); L_TID has more weight.",
        ("generator_losses.const", "generator_losses.tid"),
    ),
    ("views", "Random augmentation of G(x) before f.", ("view",)),
    ("even-source", "Source batches are balanced over f's predicted classes.", ("train.balance_source",)),
    (
        "learning-f",
        "The f of the best recipe, which also learns from target images, without their labels.",
        ("encoder", "fit", "adapt"),
    ),
    ("aligned", "Target features have the mean and the covariance of the source features.", ("align_features",)),
    ("smooth", "L_TV.", ("generator_losses.tv",)),
    ("told-d", "A class-conditional D, conditioned on f's prediction for x.", ("discriminator.classes",)),
    ("moved-source", "Source images are augmented.", ("source_augmentation",)),
)
"""Name of a row, its change, and the settings of the best recipe that it adopts."""


def path(common: CommonSettings) -> Table:
    """From the paper's setting to the best recipe; each row includes the changes of all rows above it."""
    best = common.best()
    rows: list[Row] = [common.row("paper", "The paper's setting as written.", recipe=FAITHFUL)]
    adopted: Changes = {}
    for name, about, settings in STEPS:
        adopted = adopted | {setting: common.setting(setting) for setting in settings}
        rows.append(common.row(name, about, adopted, recipe=FAITHFUL))
    return Table(
        title="From the paper's setting to the best recipe",
        about="Each row adds one change to the row above it; the networks of the best recipe may have another width. The "
        "effect of a change depends on the changes before it: in another order the values would differ. Measured as above.",
        columns=(
            Column("accuracy", "accuracy"),
            Column("f consistency", "f_consistency"),
            Column("diversity", "diversity", percent=False),
        ),
        rows=(*rows, best),
    )
