"""Draw a grid of avatars with the labels of their photographs, for photographs that may not be published.

python benchmarks/captioned.py RUN OUT.png [lfw.zip]

It shows 24 test photographs, evenly spread. Name the zip if it is not where the run found it.
"""

import sys

import torch
from PIL import Image, ImageDraw

import domtrans

COLUMNS, SIDE, LINES = 8, 128, 3


def caption(images: domtrans.ImageSet, number: int) -> list[str]:
    """The labels of an image, in three short lines."""
    labels = {name: one.values[k] for name, one in images.attributes.items() if (k := int(one.index[number])) >= 0}
    hair = " ".join(labels[name] for name in ("hair_length", "hair_colour") if name in labels)
    worn = [word for word, name in (("glasses", "glasses"), ("beard", "facial_hair")) if labels.get(name) == "yes"]
    skin = f"{labels['skin']} skin" if "skin" in labels else "skin unknown"
    return [skin, f"{hair} hair" if hair else "hair unknown", ", ".join(worn)]


def pictures(trained: domtrans.Run, images: domtrans.ImageSet) -> list[Image.Image]:
    """The avatars at SIDE pixels: drawn by the engine at this size if the run draws by parameters, else enlarged."""
    if trained.model.engine is not None:
        return [trained.draw(parameters, size=SIDE) for parameters in trained.parameters(images.images)]
    pixels = [Image.fromarray(avatar.permute(1, 2, 0).numpy()) for avatar in trained.model.apply_to(images)]
    return [image.resize((SIDE, SIDE), Image.Resampling.NEAREST) for image in pixels]


def main(run: str, out: str, photographs: str | None = None) -> None:
    """Draw the grid."""
    trained = domtrans.load(run)
    of = dict(trained.recipe.source.options["of"])
    part = domtrans.use(of.pop("name"), **of | ({"path": photographs} if photographs else {}))
    source = domtrans.load_domain(trained.registry, part, "test", trained.recipe.image_size)
    images = source.take(torch.arange(24) * len(source) // 24)
    avatars = pictures(trained, images)
    height = SIDE + 12 * LINES + 6
    sheet = Image.new("RGB", (COLUMNS * SIDE, -(-len(avatars) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, avatar in enumerate(avatars):
        x, y = number % COLUMNS * SIDE, number // COLUMNS * height
        sheet.paste(avatar, (x, y))
        for line, text in enumerate(caption(images, number)):
            draw.text((x + SIDE / 2, y + SIDE + 6 + 12 * line), text, fill="black", anchor="mm", font_size=12)
    sheet.quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
