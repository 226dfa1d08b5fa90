"""The example of one photograph: a NASA portrait, which is in the public domain, and its avatar.

python benchmarks/portrait.py photo    # writes docs/images/nasa-portrait.jpg; needs scikit-image, which ships the photograph
python benchmarks/portrait.py RUN      # writes docs/images/nasa-portrait-avatar.png, photograph and avatar side by side

The second does what ``domtrans transfer RUN docs/images/nasa-portrait.jpg avatar.png --crop faces --size 256`` does, and needs
domtrans[faces] and a run that draws by parameters, such as one of photo-avatars-dtn.
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
    """Find the face, draw its avatar, and show the photograph beside it."""
    import domtrans

    trained = domtrans.load(run)
    photo = Image.open(PHOTO).convert("RGB")
    faces = trained.registry.build("detector", domtrans.use("faces"))(photo, SIDE)
    (parameters,) = trained.parameters(faces)
    pair = Image.new("RGB", (2 * SIDE + GAP, SIDE), "white")
    pair.paste(photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (0, 0))
    pair.paste(trained.draw(parameters, SIDE).convert("RGB"), (SIDE + GAP, 0))
    pair.quantize(256, dither=Image.Dither.NONE).save(PAIR, optimize=True)


if __name__ == "__main__":
    write_photo() if sys.argv[1:] == ["photo"] else write_pair(*sys.argv[1:])
