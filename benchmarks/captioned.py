"""Avatars of photographs that may not be shown: each with the words that the photograph is labelled with.

python benchmarks/captioned.py RUN OUT.png [lfw.zip]

24 test photographs, evenly over all of them. The zip, where it is not where the run found it.
"""

import sys

import torch
from PIL import Image, ImageDraw

import domtrans

COLUMNS, SIDE, LINES = 8, 128, 3


def words(images: domtrans.ImageSet, number: int) -> list[str]:
    """What is known of an image, in three short lines."""
    said = {name: one.values[k] for name, one in images.attributes.items() if (k := int(one.index[number])) >= 0}
    hair = " ".join(said[name] for name in ("hair_length", "hair_colour") if name in said)
    worn = [word for word, name in (("glasses", "glasses"), ("beard", "facial_hair")) if said.get(name) == "yes"]
    skin = f"{said['skin']} skin" if "skin" in said else "skin in doubt"
    return [skin, f"{hair} hair" if hair else "hair in doubt", ", ".join(worn)]


def main(run: str, out: str, photographs: str | None = None) -> None:
    """Draw the grid."""
    trained = domtrans.load(run)
    of = dict(trained.recipe.source.options["of"])
    part = domtrans.use(of.pop("name"), **of | ({"path": photographs} if photographs else {}))
    source = domtrans.load_domain(trained.registry, part, "test", trained.recipe.image_size)
    chosen = torch.arange(24) * len(source) // 24
    images = source.take(chosen)
    made = trained.model.apply_to(images)
    height = SIDE + 12 * LINES + 6
    sheet = Image.new("RGB", (COLUMNS * SIDE, -(-len(made) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, avatar in enumerate(made):
        x, y = number % COLUMNS * SIDE, number // COLUMNS * height
        picture = Image.fromarray(avatar.permute(1, 2, 0).numpy())
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
        for line, text in enumerate(words(images, number)):
            draw.text((x + SIDE / 2, y + SIDE + 6 + 12 * line), text, fill="black", anchor="mm", font_size=12)
    sheet.quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
