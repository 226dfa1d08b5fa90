"""The study ``digits``: from house numbers to handwriting, the paper's tables and the study's made anew."""

from __future__ import annotations

from domtrans import Study
from domtrans_digits.study import steps, tables
from domtrans_digits.study.common import Common


def digits(*, data_dir: str | None = None, encoder: str | None = None, quick: bool = False) -> Study:
    """House numbers to handwriting: variants, ablations, training strategies, an unseen digit, domain adaptation.

    ``data_dir``: a folder with SVHN (.mat files, or svhn_8k.npz) and MNIST (idx files); without it street-digits and mnist-5k
    are used, which need no download. ``encoder``: a file with weights of a digit-encoder; f then is not fitted, and learns only
    from target images, where the recipe lets it. ``quick``: a few hundred images, thin networks and a few steps, to see that
    everything works; the figures say nothing.
    """
    common = Common(data_dir, encoder, quick)
    about = "From house numbers to handwritten digits, without a label of the handwriting and without pairs."
    hasty = " This is a quick look: few images, thin networks and 30 steps, so no figure says anything."
    return Study(
        name="digits",
        about=about + (hasty if quick else ""),
        tables=(
            tables.variants(common),
            tables.ablations(common),
            steps.path(common),
            tables.strategies(common),
            tables.unseen(common),
            tables.adaptation(common),
        ),
    )
