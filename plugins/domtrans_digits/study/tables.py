"""The tables of the study ``digits``: what is tried, and what has been published of it."""

from __future__ import annotations

from domtrans import STRATEGIES, Column, Published, Table
from domtrans_digits.study.common import FAITHFUL, Changes, Common, subset

PAPER, PAPER_ADAPTATION, PAPER_UNSEEN = (f"Taigman et al. 2017, table {number}" for number in (1, 2, 3))
STUDY = "Hua, Rempe, Zhang, table II"

ACCURACY = Column("accuracy", "accuracy")
LOOKS = (
    Column("f consistency", "f_consistency"),
    Column("FID", "fid", percent=False),
    Column("KID", "kid", percent=False),
    Column("diversity", "diversity", percent=False),
    Column("class diversity", "class_diversity", percent=False),
)
TRAINING = "training images"

NO_CONST = "Without L_CONST, and D is not told what f sees in x: nothing ties G(x) to x but what g reads."
NOTHING_TOLD: Changes = {"discriminator.classes": 0}
UNSEEN = 3
"""The digit that is left out, as in the paper."""


def variants(common: Common) -> Table:
    """The best recipe, the study's table II, and the settings of the paper and the study."""
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
        about="Accuracy: share of source test images whose transfer a classifier of real handwriting, which no loss has seen, "
        f"reads as the source's label; {TRAINING}: the same over the source images that G was trained on. f consistency: share "
        "in which f's own head sees in G(x) what it sees in x. FID and KID are on features of that classifier and compare with "
        "no others; diversity is 1 for images as varied as real ones, over all and within what is read as one digit.",
        columns=(ACCURACY, Column(TRAINING, "accuracy", measured), *LOOKS),
        rows=(
            common.best(Published(0.9066, PAPER), *study(0.745, 0.815)),
            common.row(
                "mse",
                "The const loss is the mean squared difference of features, the paper's d.",
                {"generator_losses.const.distance": "mse"},
            ),
            common.row(
                "cross-entropy",
                "The const loss compares what f's own head says of x and of G(x): no label, and no classifier of the target.",
                {"generator_losses.const.distance": "cross-entropy"},
            ),
            common.row(
                "oracle",
                "Supervised: the study's cross-entropy, of a classifier fitted on target labels with source labels. It is "
                "no result of the method and shows what right correspondence is worth.",
                oracle | ({"generator_losses.const.steps": 40} if common.quick else {}),
                published=study(0.9109, 0.9692),
            ),
            common.row(
                "no-const",
                NO_CONST,
                NOTHING_TOLD | {"generator_losses.const": "none"},
                published=(Published(0.3255, PAPER), *study(0.1885, 0.2206)),
            ),
            common.row(
                "paper",
                "The paper's setting as written: MSE, alpha 15, beta 15, f a classifier of the source alone, no views.",
                recipe=FAITHFUL,
                published=(Published(0.9066, PAPER),),
            ),
            common.row(
                "study",
                "The study's best setting: as the paper's, but alpha 0.1, Adam at 1e-3, source and target updates apart.",
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


def ablations(common: Common) -> Table:
    """What each part is worth: the paper's table 1."""
    without_f = NOTHING_TOLD | common.generator("digit-image-generator")
    no_tid, no_const = {"generator_losses.tid": "none"}, NOTHING_TOLD | {"generator_losses.const": "none"}
    no_d = {"generator_losses.gan": "none", "discriminator_losses.gan": "none"}
    binary = {"generator_losses.gan.fakes": "source", "discriminator_losses.gan.fakes": "source"}
    rows: dict[str, tuple[str, Changes, float]] = {
        "no-tid": ("Without L_TID: G need not leave target images as they are.", no_tid, 0.8879),
        "no-const": (NO_CONST, no_const, 0.3255),
        "no-f-in-g": ("G does not contain f: it reads the image itself, and f is left to the const loss.", without_f, 0.369),
        "no-d": ("Without D and L_GANG.", no_d, 0.347),
        "no-const-no-tid": ("Without L_CONST and L_TID: D alone teaches g.", no_const | no_tid, 0.0528),
        "baseline": (
            "The baseline of the paper's section 3: G reads the image itself, D is binary, L_GAN and L_CONST are all there is.",
            without_f | binary | no_tid,
            0.1371,
        ),
    }
    original = {"metrics": {"digits": {**common.accuracy, "of": "original"}}}
    return Table(
        title="Ablations",
        about="The best recipe without one part or another, measured as above.",
        columns=(ACCURACY, *LOOKS),
        rows=(
            common.best(Published(0.9066, PAPER)),
            *(common.row(name, about, changes, published=(Published(x, PAPER),)) for name, (about, changes, x) in rows.items()),
            common.row(
                "original",
                "No transfer: the classifier of handwriting reads the source image itself.",
                measured=original,
                published=(Published(0.4006, PAPER),),
            ),
        ),
    )


def strategies(common: Common) -> Table:
    """The study's advice on training, a row each."""
    return Table(
        title="Training strategies",
        about="The best recipe with one switch turned (section V C of Hua, Rempe, Zhang, without figures), measured as above.",
        columns=(ACCURACY, *LOOKS),
        rows=(common.best(), *(common.row(name, *row) for name, row in STRATEGIES.items())),
    )


def unseen(common: Common) -> Table:
    """A class that training has not seen: the paper's table 3."""
    source = {"source": subset(common.source, without=[str(UNSEEN)])}
    target = {"target": subset(common.target, without=[str(UNSEEN)])}
    measured = {"target": common.target}  # the classifier that scores has seen every digit
    f_knows = common.encoder is not None
    of_f = "f, which was loaded, knows it" if f_knows else "f was fitted without its label"

    def paper(value: float) -> tuple[Published, ...]:
        return (Published(value, PAPER_UNSEEN),)

    return Table(
        title=f"A digit unseen in training: {UNSEEN}",
        about=f"Accuracy on the source test images of the digit {UNSEEN}, and over all digits. What is published stands where "
        "f had seen what it has seen here.",
        columns=(Column(f"accuracy on {UNSEEN}", f"per_class.{UNSEEN}"), ACCURACY),
        rows=(
            common.best(*paper(0.9467)),
            common.row(
                "unseen-in-source",
                f"No {UNSEEN} among the source's training images; {of_f}.",
                source,
                published=paper(0.9333) if f_knows else (),
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
                published=paper(0.6002 if f_knows else 0.0452),
            ),
        ),
    )


def adaptation(common: Common) -> Table:
    """Unsupervised domain adaptation: the paper's table 2, and what came after it."""
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
        about="Another question than above, and figures that do not compare with those: the source images of one split are "
        "transferred, a classifier is trained on them with the source's labels, and its accuracy is that on real target test "
        "images.",
        columns=(train, test),
        rows=(common.best(Published(0.8444, PAPER_ADAPTATION), Published(0.7972, PAPER_ADAPTATION, test.title)),),
        published=tuple(Published(value, source, method=method) for method, (value, source) in others.items()),
    )
