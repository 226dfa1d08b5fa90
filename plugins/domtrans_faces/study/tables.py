"""The tables of the study ``faces``. The study of 2017 gives text and images for faces, but no numbers."""

from __future__ import annotations

from domtrans import STRATEGIES, Column, Table
from domtrans_faces import recipes
from domtrans_faces.study.common import FAITHFUL, Changes, CommonSettings, without_heads

ATTRIBUTE_COLUMNS = (
    Column("all attributes", "attribute_balanced_accuracy"),
    Column("skin", "skin_balanced_accuracy"),
    Column("hair colour", "hair_colour_balanced_accuracy"),
    Column("glasses", "glasses_balanced_accuracy"),
    Column("facial hair", "facial_hair_balanced_accuracy"),
    Column("diversity", "diversity", percent=False),
    Column("FID", "fid", percent=False),
)
CONST, TID = "generator_losses.const", "generator_losses.tid"
TID_WEIGHT = 30.0
"""Weight of L_TID with another distance than the best recipe's; most of them square the differences."""
TERNARY: Changes = {f"{side}_losses.gan": {"name": f"ternary-{side}", "start": 0.05} for side in ("generator", "discriminator")}
"""The paper's equations 3 and 4."""
BOTH: Changes = {"name": "weighted", "terms": ["mse", "cosine"], "weights": [1.0, 1.0]}
"""The study's weighted combination."""


def encoders(common: CommonSettings) -> Table:
    """Different encoders f, which the study found to matter most."""
    return Table(
        title="What f is",
        about="Attributes: balanced accuracy with which a network fitted on real avatars, and used in no loss, finds the "
        "attributes of x in G(x), over all attributes and for four of them; chance is 33 % for skin, 17 % for hair colour, 50 "
        "% for glasses and facial hair. Diversity is 1 for images as varied as real avatars, and 0 if G is constant; FID uses "
        "features of that network. Hua, Rempe, Zhang give no numbers: their avatars 'show only small variation, many are very "
        "similar and contain a faint or blurry blend of attributes like skin and hair color', and 'do not correspond well' "
        "with the faces; SphereFace was 'more effective as f than OpenFace'.",
        columns=ATTRIBUTE_COLUMNS,
        rows=(
            common.best(),
            common.row(
                "no-const",
                "Without L_CONST.",
                {CONST: "none"},
            ),
            common.row(
                "random-f",
                "f is the same network with random weights; L_CONST compares its features.",
                without_heads() | {"encoder": {"name": "attributes"}},
            ),
            *(
                common.row(f"f-{name}", f"f is {name}.", without_heads() | {"encoder": {"name": name, "path": path}})
                for name, path in common.weights.items()
            ),
            common.row(
                "paper",
                "The paper's setting: MSE, alpha 100, beta 1, gamma 0.05, the networks of study and paper, 96 pixels.",
                recipe=FAITHFUL,
            ),
            common.row(
                "study",
                "The study's setting: the paper's with cosine similarity for d, and L_TV with absolute differences.",
                {f"{CONST}.distance": "cosine", "generator_losses.tv.form": "absolute"},
                recipe=FAITHFUL,
            ),
        ),
    )


def distances(common: CommonSettings) -> Table:
    """d between f(x) and f(G(x)), and d_2 between a target image and its own transfer."""
    alpha = recipes.COSINE_CONST.weight  # for features; the best recipe's weight is for predictions of heads
    const: dict[str, tuple[str, Changes]] = {
        "const-mse": ("d is the mean squared difference of features, the paper's.", {"name": "mse"}),
        "const-cosine": ("d is the cosine of features, the study's.", {"name": "cosine"}),
        "const-both": ("d is both.", BOTH),
    }
    tid: dict[str, tuple[str, Changes]] = {
        "tid-mse": ("d_2 is the mean squared difference of pixels, the paper's.", {"name": "mse"}),
        "tid-cosine": ("d_2 is the cosine of pixels.", {"name": "cosine"}),
        "tid-both": ("d_2 is the mean squared difference and the cosine of pixels.", BOTH),
        "tid-perceptual": ("d_2 is the mean squared difference of pixels plus that of features.", perceptual(common)),
    }
    return Table(
        title="Distances",
        about="The best recipe with another distance, measured as above. Its own d is the Kullback-Leibler divergence of the "
        "predictions of f's heads, and its d_2 the mean absolute difference of pixels.",
        columns=ATTRIBUTE_COLUMNS,
        rows=(
            common.best(),
            *(
                common.row(name, about, {f"{CONST}.distance": d, f"{CONST}.weight": alpha})
                for name, (about, d) in const.items()
            ),
            *(common.row(name, about, {f"{TID}.distance": d, f"{TID}.weight": TID_WEIGHT}) for name, (about, d) in tid.items()),
        ),
    )


def perceptual(common: CommonSettings) -> Changes:
    """MSE of pixels plus MSE of features after the first stage of timm's ResNet-18, with random weights if there is no file."""
    network: Changes = {"name": "timm", "model": "resnet18", "stage": 1}
    if "timm" in common.weights:
        network["path"] = common.weights["timm"]
    return {"name": "weighted", "terms": ["mse", {"name": "perceptual", "encoder": network}], "weights": [1.0, 1.0]}


def strategies(common: CommonSettings) -> Table:
    """The objective and g of the paper, and the study's ways to balance D and g, one row each."""
    changed: dict[str, tuple[str, Changes]] = {
        "ternary": ("Three-way cross-entropy, the paper's equations 3 and 4, instead of relativistic pairs.", TERNARY),
        "pixel-colours": ("Every pixel has a colour of its own, instead of a mix of 16 flat ones.", {"generator.colours": 0}),
    }
    changed |= {name: (about, TERNARY | dict(changes)) for name, (about, changes) in STRATEGIES.items()}
    return Table(
        title="Training strategies",
        about="The best recipe with other parts; then 'ternary' with one change in each row: what Hua, Rempe, Zhang tried "
        "against a D that overpowers g (section V C, without numbers), and a few more. Measured as above.",
        columns=ATTRIBUTE_COLUMNS,
        rows=(common.best(), *(common.row(name, *row) for name, row in changed.items())),
    )


def reconstruction(common: CommonSettings) -> Table:
    """How much of an avatar f's features contain: the study's figure 7."""
    measured = {"source": common.target, "metrics": common.metrics}
    rows: dict[str, tuple[str, str | Changes]] = {
        "reconstruct-mse": ("d_2 is MSE; 'captures skin and hair color well', the study says, with 'blurry results'.", "mse"),
        "reconstruct-cosine": ("d_2 is the cosine; 'although faint, actually captures the fine-grained details'.", "cosine"),
        "reconstruct-both": ("d_2 is both.", BOTH),
    }
    return Table(
        title="Avatars from their own features",
        about="Ten times the weight of L_TID and no L_CONST (figure 7 of Hua, Rempe, Zhang): G of the test avatars "
        "themselves, measured as above against their own attributes. What is lost here is not in f's features.",
        columns=tuple(Column(one.title, one.figure, measured, one.percent) for one in ATTRIBUTE_COLUMNS),
        rows=tuple(
            common.row(name, about, {CONST: "none", f"{TID}.weight": 10 * TID_WEIGHT, f"{TID}.distance": distance})
            for name, (about, distance) in rows.items()
        ),
    )


def photographs(common: CommonSettings) -> Table:
    """Photographs as the source, measured without attributes."""
    return Table(
        title="Photographs",
        about="Labeled Faces in the Wild, people who are not in the training set. Found: share of avatars for which f ranks "
        "the person among the first 5 of up to 100, and the median rank (50 by chance); skin and hair: rank correlation of "
        "their lightness in photograph and avatar.",
        columns=(
            Column("found", "identity_top_5_accuracy"),
            Column("by chance", "identity_top_5_chance_accuracy"),
            Column("from the photograph", "photo_top_5_accuracy"),
            Column("median place", "identity_median_rank", percent=False),
            Column("skin", "skin_likeness", percent=False),
            Column("hair", "hair_likeness", percent=False),
            Column("diversity", "diversity", percent=False),
        ),
        rows=tuple(map(common.photo_row, common.recognisers)),
    )
