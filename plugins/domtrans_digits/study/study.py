"""The study ``digits``: the tables of the paper and of the study, for house numbers to handwriting."""

from __future__ import annotations

from domtrans import Study
from domtrans_digits.study import objectives, steps, tables
from domtrans_digits.study.common import CommonSettings


def digits(*, data_dir: str | None = None, encoder: str | None = None, quick: bool = False) -> Study:
    """House numbers to handwriting: variants, ablations, training strategies, objectives, an unseen digit, domain adaptation.

    Args:
        data_dir: Folder with SVHN (.mat files, or svhn_8k.npz) and MNIST (idx files); without it, street-digits and
            mnist-5k are used, which need no download.
        encoder: File with weights of a digit-encoder; f is then not fitted, and only adapted to target images where the
            recipe does so.
        quick: Smoke test with a few hundred images, thin networks and a few steps; the results are meaningless.
    """
    common = CommonSettings(data_dir, encoder, quick)
    about = "House numbers to handwritten digits, without labels of the handwriting and without pairs."
    warning = " This is a smoke test with few images, thin networks and 30 steps: the results are meaningless."
    return Study(
        name="digits",
        about=about + (warning if quick else ""),
        tables=(
            tables.variants(common),
            tables.ablations(common),
            steps.path(common),
            tables.strategies(common),
            objectives.objectives(common),
            tables.unseen(common),
            tables.adaptation(common),
        ),
    )
