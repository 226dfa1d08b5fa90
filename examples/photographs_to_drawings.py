"""Two folders to try folders-dtn with, without a download: patches of photographs, and of drawings of other photographs.

pip install scikit-image scikit-learn
python examples/photographs_to_drawings.py NEW_FOLDER [COUNT]

The photographs are the six colour ones that lie inside the two packages. Each is cut into four upright bands of the same
width. COUNT (1,600) patches of 64 pixels come from the two bands on the left and become NEW_FOLDER/photographs. As many come
from the two on the right, are drawn, and become NEW_FOLDER/drawings. A fifth of each, from the outer bands, is to test with.
No two bands overlap, so no image has a pair in the other folder, and no test image shows a part of a training image.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

PHOTOGRAPHS = {
    "skimage": ["data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/rocket.jpg"],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}
BANDS = [("photographs", "test"), ("photographs", "train"), ("drawings", "train"), ("drawings", "test")]
"""Folder and split of each band, from left to right."""
SIZE = 64
PENCILS = [
    (250, 250, 245), (190, 195, 200), (125, 125, 130), (60, 60, 65), (15, 15, 15),
    (150, 25, 30), (225, 55, 40), (245, 130, 50), (250, 190, 90), (255, 225, 190),
    (215, 165, 130), (160, 110, 70), (95, 60, 40), (110, 130, 60), (45, 80, 50),
    (0, 110, 110), (170, 205, 230), (80, 130, 190), (40, 60, 120), (110, 60, 150),
]  # fmt: skip
"""The colours of the drawn style, red, green and blue."""
INK = (25, 20, 45)


def photographs() -> list[Image.Image]:
    """The photographs inside the packages. Missing ones end the program with the command that installs them."""
    found = []
    for package, names in PHOTOGRAPHS.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            sys.exit("error: the photographs are part of two packages: pip install scikit-image scikit-learn")
        found += [Image.open(Path(spec.origin).parent / name).convert("RGB") for name in names]
    return found


def cut(band: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A square of the band at SIZE pixels, mirrored or not: that with most contrast of three with random sides and places."""
    squares = []
    for _ in range(3):
        side = int(rng.integers(SIZE, band.width + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in band.size)
        squares.append(band.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    best = max(squares, key=lambda square: np.asarray(square).std())
    return ImageOps.mirror(best) if rng.random() < 0.5 else best


def draw(image: Image.Image) -> Image.Image:
    """The drawn style: areas in the colours of PENCILS, with outlines in INK. It is drawn at twice the size."""
    box = Image.new("P", (1, 1))
    box.putpalette([value for colour in PENCILS for value in colour])
    large = image.resize((2 * SIZE, 2 * SIZE), Image.Resampling.BICUBIC).filter(ImageFilter.MedianFilter(7))
    nearest = ImageEnhance.Color(large).enhance(1.4).quantize(palette=box, dither=Image.Dither.NONE)
    areas = np.asarray(Image.fromarray(np.asarray(nearest)).filter(ImageFilter.ModeFilter(11)))  # removes small areas
    edges = np.zeros(areas.shape, np.uint8)
    edges[:, 1:] |= areas[:, 1:] != areas[:, :-1]
    edges[1:] |= areas[1:] != areas[:-1]
    lines = np.asarray(Image.fromarray(edges).filter(ImageFilter.MaxFilter(3)))
    return Image.fromarray(np.where(lines[:, :, None], INK, np.array(PENCILS)[areas]).astype(np.uint8)).reduce(2)


def main(folder: str, count: str = "1600") -> None:
    """Write both folders, with the splits train and test in each."""
    if Path(folder).exists():
        sys.exit(f"error: {folder} exists already; name a new folder")
    if not count.isdecimal() or int(count) < 5:
        sys.exit(f"error: COUNT is {count}; write a whole number of at least 5")
    rng = np.random.default_rng(0)
    whole = photographs()
    for number, (name, split) in enumerate(BANDS):
        place = Path(folder) / name / split
        place.mkdir(parents=True)
        wanted = int(count) // 5 if split == "test" else int(count) - int(count) // 5
        for i in range(wanted):
            photograph = whole[i % len(whole)]
            width = photograph.width // len(BANDS)
            patch = cut(photograph.crop((number * width, 0, (number + 1) * width, photograph.height)), rng)
            (draw(patch) if name == "drawings" else patch).save(place / f"{i:04}.png")
        print(f"{place}: {wanted:,} images")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
