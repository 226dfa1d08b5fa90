"""The tables of the study ``faces``: what is tried. The study that it goes after gives words and pictures, but no figures."""

from __future__ import annotations

from domtrans import STRATEGIES, Column, Table
from domtrans_faces import recipes
from domtrans_faces.study.common import FAITHFUL, Changes, Common, without_heads

LOOKS = (
    Column("all attributes", "attribute_balanced_accuracy"),
    Column("skin", "skin_balanced_accuracy"),
    Column("hair colour", "hair_colour_balanced_accuracy"),
    Column("glasses", "glasses_balanced_accuracy"),
    Column("facial hair", "facial_hair_balanced_accuracy"),
    Column("diversity", "diversity", percent=False),
    Column("FID", "fid", percent=False),
)
CONST, TID = "generator_losses.const", "generator_losses.tid"
SQUARED = 30.0
"""L_TID's weight for any distance but the best recipe's: differences of pixels are squared in most of them."""
BOTH: Changes = {"name": "weighted", "terms": ["mse", "cosine"], "weights": [1.0, 1.0]}
"""The study's weighted combination."""


def encoders(common: Common) -> Table:
    """What f is: the study found its encoder to matter more than much else."""
    return Table(
        title="What f is",
        about="Attributes: balanced accuracy with which a network fitted on real avatars, which no loss has seen, reads in G(x)"
        " what x shows, over all attributes and for four of them; by chance 33 % of skin, 17 % of hair colour, 50 % of glasses "
        "and facial hair. Diversity is 1 for images as varied as real avatars, and 0 where G always draws one face; FID is on "
        "features of that network. Hua, Rempe, Zhang give no figures: their avatars 'show only small variation, many are very "
        "similar and contain a faint or blurry blend of attributes like skin and hair color', and 'do not correspond well' "
        "with the faces; SphereFace was 'more effective as f than OpenFace'.",
        columns=LOOKS,
        rows=(
            common.best(),
            common.row(
                "no-const",
                "Without L_CONST: nothing ties G(x) to x but what g reads.",
                {CONST: "none"},
            ),
            common.row(
                "random-f",
                "f is the same network with random weights; the const loss compares its features.",
                without_heads() | {"encoder": {"name": "attributes"}},
            ),
            *(
                common.row(f"f-{name}", f"f is {name}.", without_heads() | {"encoder": {"name": name, "path": path}})
                for name, path in common.weights.items()
            ),
            common.row(
                "paper",
                "The paper's setting: MSE, alpha 100, beta 1, gamma 0.05, networks as study and paper have them, 96 pixels.",
                recipe=FAITHFUL,
            ),
            common.row(
                "study",
                "The study's setting: as the paper's, but cosine similarity for d, and L_TV in absolute differences.",
                {f"{CONST}.distance": "cosine", "generator_losses.tv.form": "absolute"},
                recipe=FAITHFUL,
            ),
        ),
    )


def distances(common: Common) -> Table:
    """d between f(x) and f(G(x)), and d_2 between a target image and its own transfer."""
    alpha = recipes.ALIKE.weight  # of features; the best recipe's is of what heads say
    rows: dict[str, tuple[str, Changes]] = {
        "const-mse": ("d is the mean squared difference of features, the paper's.", {"name": "mse"}),
        "const-cosine": ("d is the cosine of features, the study's.", {"name": "cosine"}),
        "const-both": ("d is both.", BOTH),
    }
    tid: dict[str, tuple[str, Changes]] = {
        "tid-mse": ("d_2 is the mean squared difference of pixels, the paper's.", {"name": "mse"}),
        "tid-cosine": ("d_2 is the cosine of pixels.", {"name": "cosine"}),
        "tid-both": ("d_2 is the mean squared difference and the cosine of pixels.", BOTH),
        "tid-perceptual": ("d_2 is the mean squared difference of pixels, and that of features.", perceptual(common)),
    }
    return Table(
        title="Distances",
        about="The best recipe with another distance, measured as above; its own compares what f's heads say of each attribute "
        "(Kullback-Leibler divergence), and pixels by their mean absolute difference.",
        columns=LOOKS,
        rows=(
            common.best(),
            *(common.row(name, about, {f"{CONST}.distance": d, f"{CONST}.weight": alpha}) for name, (about, d) in rows.items()),
            *(common.row(name, about, {f"{TID}.distance": d, f"{TID}.weight": SQUARED}) for name, (about, d) in tid.items()),
        ),
    )


def perceptual(common: Common) -> Changes:
    """Pixels and, as much, the features of timm's ResNet-18 after its first stage; of random weights where none are given."""
    network: Changes = {"name": "timm", "model": "resnet18", "stage": 1}
    if "timm" in common.weights:
        network["path"] = common.weights["timm"]
    return {"name": "weighted", "terms": ["mse", {"name": "perceptual", "encoder": network}], "weights": [1.0, 1.0]}


def strategies(common: Common) -> Table:
    """The study's ways to keep D and g in balance, a row each."""
    return Table(
        title="Training strategies",
        about="The best recipe with one switch turned, measured as above: what Hua, Rempe, Zhang tried against a D that "
        "overpowers g (section V C, without figures), and a few more.",
        columns=LOOKS,
        rows=(common.best(), *(common.row(name, *row) for name, row in STRATEGIES.items())),
    )


def reconstruction(common: Common) -> Table:
    """How much of an avatar f passes on: the study's figure 7."""
    measured = {"source": common.target, "metrics": common.metrics}
    rows: dict[str, tuple[str, str | Changes]] = {
        "reconstruct-mse": ("d_2 is MSE; 'captures skin and hair color well', the study says, with 'blurry results'.", "mse"),
        "reconstruct-cosine": ("d_2 is the cosine; 'although faint, actually captures the fine-grained details'.", "cosine"),
        "reconstruct-both": ("d_2 is both.", BOTH),
    }
    return Table(
        title="Avatars from their own features",
        about="L_TID ten times as heavy and no L_CONST (figure 7 of Hua, Rempe, Zhang): G of test avatars themselves, "
        "measured as above against the attributes that they have. What is not kept here f does not tell g.",
        columns=tuple(Column(one.title, one.figure, measured, one.percent) for one in LOOKS),
        rows=tuple(
            common.row(name, about, {CONST: "none", f"{TID}.weight": 10 * SQUARED, f"{TID}.distance": distance})
            for name, (about, distance) in rows.items()
        ),
    )


def photographs(common: Common) -> Table:
    """Real faces: no attributes are known, so others must say whether the avatar has anything of the person."""
    return Table(
        title="Photographs",
        about="Labeled Faces in the Wild, people whom training has not seen. Found: share of avatars from which f finds the "
        "person among the first 5 of up to 100, and the median place (50 by chance); skin and hair: rank correlation of their "
        "lightness in the photograph and in the avatar.",
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
