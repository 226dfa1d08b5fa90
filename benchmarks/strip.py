"""The README's strip: house numbers, portraits and photographs above, their transfers below.

python benchmarks/strip.py [OUT.png]

Built from images that the recipes' pages show. The photographs may not be passed on, so their labels stand in for them.
"""

import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTH, MARGIN, GAP = 1092, 4, 14
PAIR = 132
"""Pixels from one pair to the next in a grid of samples, twice enlarged."""
AVATAR, LABELS = 128, 42
"""Pixels of an avatar's side and of the three lines of labels below it, as ``captioned.py`` draws them."""


def digits() -> Image.Image:
    """SVHN test images and their transfers: the first two rows of the samples."""
    return Image.open(DOCS / "results/svhn/samples.png").convert("RGB").crop((0, 0, WIDTH, 140))


def portraits() -> Image.Image:
    """The first twelve drawn test portraits and their avatars, as wide as the strip."""
    pairs = Image.open(DOCS / "images/avatars-dtn.png").convert("RGB")
    pairs = pairs.crop((0, 0, 12 * PAIR + MARGIN, pairs.height))
    return pairs.resize((WIDTH, round(pairs.height * WIDTH / pairs.width)), Image.Resampling.BICUBIC)


def photographs() -> Image.Image:
    """Labels of the first eight test photographs, and their avatars below."""
    captioned = Image.open(DOCS / "results/faces/photo-avatars.png").convert("RGB")
    row = Image.new("RGB", (captioned.width, LABELS + AVATAR), "white")
    row.paste(captioned.crop((0, AVATAR, captioned.width, AVATAR + LABELS)), (0, 0))
    row.paste(captioned.crop((0, 0, captioned.width, AVATAR)), (0, LABELS))
    return row


def main(out: str = str(DOCS / "images/strip.png")) -> None:
    """Write the strip."""
    rows = [digits(), portraits(), photographs()]
    strip = Image.new("RGB", (WIDTH, sum(row.height for row in rows) + GAP * (len(rows) - 1) + MARGIN), "white")
    top = 0
    for row in rows:
        strip.paste(row, ((WIDTH - row.width) // 2, top))
        top += row.height + GAP
    strip.save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
