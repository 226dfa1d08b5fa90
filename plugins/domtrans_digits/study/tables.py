"""The tables of the study ``digits``, with the published results."""

from __future__ import annotations

from domtrans import STRATEGIES, Column, Published, Table
from domtrans_digits.study.common import FAITHFUL, Changes, CommonSettings, subset

PAPER, PAPER_ADAPTATION, PAPER_UNSEEN = (f"Taigman et al. 2017, table {number}" for number in (1, 2, 3))
STUDY = "Hua, Rempe, Zhang, table II"

ACCURACY = Column("accuracy", "accuracy")
IMAGE_COLUMNS = (
    Column("f consistency", "f_consistency"),
    Column("FID", "fid", percent=False),
    Column("KID", "kid", percent=False),
    Column("diversity", "diversity", percent=False),
    Column("class diversity", "class_diversity", percent=False),
)
TRAINING = "training images"

NO_CONST = "Without L_CONST, and with an unconditional D: only g's input ties G(x) to x."
UNCONDITIONAL: Changes = {"discriminator.classes": 0}
UNSEEN = 3
"""The digit that is left out of training, as in the paper."""


def variants(common: CommonSettings) -> Table:
    """The best recipe, the variants of the study's table II, and the settings of the paper and the study."""
    measured = {"source": subset(common.source, drawn_from="train"), "metrics": {"digits": common.accuracy}}

    def study(test: float, train: float) -> tuple[Published, Published]:
        return Published(test, STUDY), Published(train, STUDY, TRAINING)

    oracle: Changes = {
        "oracle": True,
        "generator_losses.const": "oracle-consistency",
        "generator_losses.const.target": common.target,
    }
    return Table(
        title="Transfer",
        about="Accuracy: share of source test images whose transfer a classifier of real handwriting, which is used in no "
        f"loss, assigns to the source's label; {TRAINING}: the same over the source images that G was trained on. f "
        "consistency: share with the same prediction of f's own head for x and G(x). FID and KID use features of that "
        "classifier and are not comparable with others; diversity is 1 for images as varied as real ones, over all images and "
        "within each predicted class.",
        columns=(ACCURACY, Column(TRAINING, "accuracy", measured), *IMAGE_COLUMNS),
        rows=(
            common.best(Published(0.9066, PAPER), *study(0.745, 0.815)),
            common.row(
                "mse",
                "L_CONST is the mean squared difference of features, the paper's d.",
                {"generator_losses.const.distance": "mse"},
            ),
            common.row(
                "cross-entropy",
                "L_CONST compares the predictions of f's own head for x and G(x), without labels or a target classifier.",
                {"generator_losses.const.distance": "cross-entropy"},
            ),
            common.row(
                "oracle",
                "Supervised: the study's cross-entropy between the predictions of a classifier fitted on target labels and "
                "the source labels. It is an upper bound and not a result of the method.",
                oracle | ({"generator_losses.const.steps": 40} if common.quick else {}),
                published=study(0.9109, 0.9692),
            ),
            common.row(
                "no-const",
                NO_CONST,
                UNCONDITIONAL | {"generator_losses.const": "none"},
                published=(Published(0.3255, PAPER), *study(0.1885, 0.2206)),
            ),
            common.row(
                "paper",
                "The paper's setting as written: MSE, alpha 15, beta 15, f a classifier of the source, no augmentation.",
                recipe=FAITHFUL,
                published=(Published(0.9066, PAPER),),
            ),
            common.row(
                "study",
                "The study's best setting: the paper's with alpha 0.1, Adam at 1e-3, and separate source and target updates.",
                {
                    "generator_losses.const.weight": 0.1,
                    "train.generator_optimizer.lr": 1e-3,
                    "train.discriminator_optimizer.lr": 1e-3,
                    "train.updates": "separate",
                },
                recipe=FAITHFUL,
                published=study(0.745, 0.815),
            ),
        ),
    )


def ablations(common: CommonSettings) -> Table:
    """The best recipe without one part or another: the paper's table 1."""
    without_f = UNCONDITIONAL | common.generator("digit-image-generator") | {"align_features": False}
    no_tid, no_const = {"generator_losses.tid": "none"}, UNCONDITIONAL | {"generator_losses.const": "none"}
    no_d = {"generator_losses.gan": "none", "discriminator_losses.gan": "none"}
    binary = {"generator_losses.gan.fakes": "source", "discriminator_losses.gan.fakes": "source"}
    rows: dict[str, tuple[str, Changes, float]] = {
        "no-tid": ("Without L_TID.", no_tid, 0.8879),
        "no-const": (NO_CONST, no_const, 0.3255),
        "no-f-in-g": ("G without f: its input is the image itself, and f is used in L_CONST only.", without_f, 0.369),
        "no-d": ("Without D and L_GANG.", no_d, 0.347),
        "no-const-no-tid": ("Without L_CONST and L_TID: g learns from D only.", no_const | no_tid, 0.0528),
        "baseline": (
            "The baseline of the paper's section 3: G without f, a binary D, and only the losses L_GAN and L_CONST.",
            without_f | binary | no_tid,
            0.1371,
        ),
    }
    original = {"metrics": {"digits": {**common.accuracy, "of": "original"}}}
    return Table(
        title="Ablations",
        about="The best recipe without one part or another, measured as above.",
        columns=(ACCURACY, *IMAGE_COLUMNS),
        rows=(
            common.best(Published(0.9066, PAPER)),
            *(common.row(name, about, changes, published=(Published(x, PAPER),)) for name, (about, changes, x) in rows.items()),
            common.row(
                "original",
                "No transfer: the classifier of handwriting is applied to the source images.",
                measured=original,
                published=(Published(0.4006, PAPER),),
            ),
        ),
    )


def strategies(common: CommonSettings) -> Table:
    """The study's advice on training, one row each."""
    return Table(
        title="Training strategies",
        about="The best recipe with one change (section V C of Hua, Rempe, Zhang, without numbers), measured as above.",
        columns=(ACCURACY, *IMAGE_COLUMNS),
        rows=(common.best(), *(common.row(name, *row) for name, row in STRATEGIES.items())),
    )


def unseen(common: CommonSettings) -> Table:
    """A class that is left out of training: the paper's table 3."""
    source = {"source": subset(common.source, without=[str(UNSEEN)])}
    target = {"target": subset(common.target, without=[str(UNSEEN)])}
    measured = {"target": common.target}  # the evaluator is fitted on all digits
    f_has_digit = common.encoder is not None
    of_f = "the loaded f was trained on it" if f_has_digit else "f was fitted without it"

    def paper(value: float) -> tuple[Published, ...]:
        return (Published(value, PAPER_UNSEEN),)

    return Table(
        title=f"A digit unseen in training: {UNSEEN}",
        about=f"Accuracy on the source test images of the digit {UNSEEN}, and over all digits. Published values are given "
        "where f was trained on the same digits as here.",
        columns=(Column(f"accuracy on {UNSEEN}", f"per_class.{UNSEEN}"), ACCURACY),
        rows=(
            common.best(*paper(0.9467)),
            common.row(
                "unseen-in-source",
                f"No {UNSEEN} among the source's training images; {of_f}.",
                source,
                published=paper(0.9333) if f_has_digit else (),
            ),
            common.row(
                "unseen-in-target",
                f"No {UNSEEN} among the target's training images.",
                target,
                measured=measured,
                published=paper(0.4013),
            ),
            common.row(
                "unseen-in-both",
                f"No {UNSEEN} among the training images of either; {of_f}.",
                source | target,
                measured=measured,
                published=paper(0.6002 if f_has_digit else 0.0452),
            ),
        ),
    )


def adaptation(common: CommonSettings) -> Table:
    """Unsupervised domain adaptation: the paper's table 2, and later methods."""
    metrics = {"metrics": {"adaptation": {"name": "adaptation-accuracy", **common.evaluator}}}
    train = Column("train split", "adaptation_accuracy", {"source": subset(common.source, drawn_from="train"), **metrics})
    test = Column("test split", "adaptation_accuracy", metrics)
    others = {
        "SA": (0.5932, "Fernando et al. 2013, as given by Taigman et al. 2017"),
        "DANN": (0.7385, "Ganin et al. 2016"),
        "DRCN": (0.8197, "Ghifary et al. 2016"),
        "ADDA": (0.76, "Tzeng et al. 2017"),
        "UNIT": (0.9053, "Liu et al. 2017"),
        "CyCADA": (0.904, "Hoffman et al. 2018"),
        "GenToAdapt": (0.924, "Sankaranarayanan et al. 2018"),
    }
    return Table(
        title="Unsupervised domain adaptation",
        about="A different measure, not comparable with the tables above: the source images of one split are transferred, a "
        "classifier is trained on them with the source's labels, and it is tested on real target test images.",
        columns=(train, test),
        rows=(common.best(Published(0.8444, PAPER_ADAPTATION), Published(0.7972, PAPER_ADAPTATION, test.title)),),
        published=tuple(Published(value, source, method=method) for method, (value, source) in others.items()),
    )
