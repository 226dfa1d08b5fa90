"""The example of one photograph: a NASA portrait, which is in the public domain, and its avatar.

python benchmarks/portrait.py photo    # writes docs/images/nasa-portrait.jpg; needs scikit-image, which ships the photograph
python benchmarks/portrait.py RUN      # writes docs/images/nasa-portrait-avatar.png, face and avatar; needs domtrans[faces]
"""

import sys
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PHOTO, PAIR = IMAGES / "nasa-portrait.jpg", IMAGES / "nasa-portrait-avatar.png"
HEAD_AND_SHOULDERS = (75, 0, 375, 300)
SIDE, GAP = 256, 8


def write_photo() -> None:
    """Cut head and shoulders out of the photograph."""
    from skimage import data

    Image.fromarray(data.astronaut()).crop(HEAD_AND_SHOULDERS).save(PHOTO, quality=90, optimize=True)


def write_pair(run: str) -> None:
    """Find the face, transfer it, and show both."""
    import domtrans

    trained = domtrans.load(run)
    (face,) = trained.registry.build("detector", domtrans.use("faces"))(Image.open(PHOTO).convert("RGB"), SIDE)
    avatar = trained.transfer(face)
    pair = Image.new("RGB", (2 * SIDE + GAP, SIDE), "white")
    pair.paste(face, (0, 0))
    pair.paste(avatar.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC), (SIDE + GAP, 0))
    pair.save(PAIR, optimize=True)


if __name__ == "__main__":
    write_photo() if sys.argv[1:] == ["photo"] else write_pair(*sys.argv[1:])
