"""House-number-like digit images, rendered from the fonts that matplotlib ships.

Each image is a small model of a photographed house number: a *sign* (a row of
up to three digits on a wall or plate) seen by a *camera* (homography, light,
blur, noise).  Digits are held as signed distance fields rather than bitmaps:
thresholding one field gives any stroke weight, an outline, and clean edges at
any size, and the whole row costs one bilinear look-up per pixel.

Sign coordinates (u, v): the unit is the height of the font's "0", u runs right,
v runs down, and the origin is the middle of the centre digit's ink.

Images are made in blocks of `BLOCK`, each from its own counter-based generator
keyed by (seed, block).  Image i therefore depends on the seed, the fonts and i
alone, not on how many images are asked for or how many threads make them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from domtrans import DomtransError

SIZE = 32  # image side, pixels
BLOCK = 250  # images per generator; a multiple of 10, so whole blocks are balanced

# Fonts without ordinary digits are left out, and so are the slanted cuts of
# DejaVu Sans: sheared copies, where shear is random anyway.  Of the test fonts,
# cmss10 and cmtt10 belong to families that training never sees.
TRAIN_FONTS: tuple[str, ...] = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSerif-Italic.ttf", "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneral.ttf", "STIXGeneralItalic.ttf", "STIXGeneralBolIta.ttf",
    "cmr10.ttf", "cmb10.ttf", "cmti10.ttf",
)  # fmt: skip
TEST_FONTS: tuple[str, ...] = ("DejaVuSansMono-Bold.ttf", "STIXGeneralBol.ttf", "cmss10.ttf", "cmtt10.ttf")

HEIGHT = 40  # of the "0" in a distance field, field pixels
CELL = 64  # side of a distance field, field pixels
REACH = 7  # distances are cut off here, field pixels
BLANK = 10  # the glyph index that stands for "no digit"
AXIS = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2  # pixel centres along one side
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Street colours vary along blue-orange far more than along green-magenta.
HUES = np.array([[-0.50, 0.09, 0.86], [0.30, -0.19, 0.19]], np.float32)


def render_digits(count: int, *, seed: int, fonts: Sequence[str], workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Render `count` digit images.

    `fonts` are file names in matplotlib's font folder or paths of font files;
    `workers` is the number of threads (default: one per processor).

    Returns RGB images, uint8 [count, 32, 32, 3], and the labels of their centre
    digits, int64 [count], 0..9: images 0..249, 250..499, ... hold every digit 25
    times each, in random order.  Raises DomtransError for a count or a worker
    number below 1, a seed outside 0..2**64 - 1, no fonts, or an unusable font.
    """
    if count < 1:
        raise DomtransError(f"The number of digit images must be at least 1, not {count}.")
    if not 0 <= seed < 2**64:
        raise DomtransError(f"The seed must lie between 0 and 2**64 - 1, not {seed}.")
    if isinstance(fonts, str) or not fonts:
        raise DomtransError("Rendering digits needs a list of at least one font.")
    if workers is not None and workers < 1:
        raise DomtransError(f"The number of workers must be at least 1, not {workers}.")

    glyphs = _load_glyphs(tuple(fonts))
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)

    def fill(block: int) -> None:
        part = slice(block * BLOCK, min(count, (block + 1) * BLOCK))
        block_images, block_labels = _render_block(seed, block, glyphs)
        images[part] = block_images[: part.stop - part.start]
        labels[part] = block_labels[: part.stop - part.start]

    # NumPy lets go of the interpreter lock in its inner loops, so threads do.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        list(pool.map(fill, range(-(-count // BLOCK))))  # the list is what raises a thread's error
    return images, labels


@dataclass(frozen=True)
class Glyphs:
    """Digits 0..9 and a blank (index 10) of several fonts; lengths in units of the "0"'s height."""

    distance: np.ndarray  # float32 [fonts, 11, CELL, CELL], to the outline, positive inside the ink
    half_width: np.ndarray  # float32 [fonts, 11], of the ink
    middle: np.ndarray  # float32 [fonts, 11], v of the ink's middle, relative to that of the "0"
    stroke: np.ndarray  # float32 [fonts], width of the thickest stroke


@lru_cache(maxsize=8)
def _load_glyphs(fonts: tuple[str, ...]) -> Glyphs:
    distance, half_width, middle, stroke = zip(*map(_trace_font, fonts), strict=True)
    return Glyphs(np.stack(distance), np.stack(half_width), np.stack(middle), np.array(stroke, np.float32))


@lru_cache(maxsize=64)
def _trace_font(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The four fields of Glyphs for one font."""
    fine = 2  # outlines are traced at this multiple of the field's resolution
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)  # an absolute name replaces the folder
    try:
        _, top, _, bottom = ImageFont.truetype(str(path), 200).getbbox("0")
        font = ImageFont.truetype(str(path), round(200 * HEIGHT * fine / (bottom - top)))
    except (OSError, ZeroDivisionError) as error:
        raise DomtransError(f"The font {name} cannot be read or has no digits.") from error

    side = CELL * fine
    boxes = np.array([font.getbbox(digit) for digit in "0123456789"], np.float32)  # left, top, right, bottom
    centre_v = (boxes[0, 1] + boxes[0, 3]) / 2
    ink = np.zeros((11, side, side), bool)
    for digit, (left, _, right, _) in enumerate(boxes):
        page = Image.new("L", (side, side))
        corner = ((side - left - right) / 2, side / 2 - centre_v)  # middles the ink
        ImageDraw.Draw(page).text(corner, str(digit), fill=255, font=font)
        ink[digit] = np.asarray(page) > 127

    reach = REACH * fine
    signed = np.where(ink, _distance_to(~ink, reach) - 0.5, 0.5 - _distance_to(ink, reach)) / (HEIGHT * fine)
    field = signed.reshape(11, CELL, fine, CELL, fine).mean((2, 4)).astype(np.float32)
    half_width = np.append((boxes[:, 2] - boxes[:, 0]) / 2, 0) / (HEIGHT * fine)
    middle = np.append((boxes[:, 1] + boxes[:, 3]) / 2 - centre_v, 0) / (HEIGHT * fine)
    return field, half_width.astype(np.float32), middle.astype(np.float32), 2 * float(field.max())


def _distance_to(target: np.ndarray, reach: int) -> np.ndarray:
    """Euclidean distance of each pixel [n, side, side] to the nearest target pixel, at most `reach`."""
    square = np.where(target, 0, reach**2).astype(np.float32)
    for axis in (1, 2):  # the squared distance is a minimum over rows of minima over columns
        margin = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(square, margin, constant_values=reach**2)
        for shift in range(-reach, reach + 1):
            moved = np.take(padded, np.arange(reach + shift, reach + shift + square.shape[axis]), axis)
            np.minimum(square, moved + shift**2, out=square)
    return np.sqrt(square)


# From here on most quantities have four axes: [BLOCK, 1, 1, 1] is one number per
# image, [BLOCK, 3, 1, 1] a colour (0..255), [BLOCK, 1, 32, 32] a map of the image.


class _Chance:
    """The random numbers of one block: each call gives one per image, [BLOCK, 1, 1, 1], unless told otherwise."""

    def __init__(self, seed: int, block: int) -> None:
        self.generator = np.random.Generator(np.random.Philox(key=np.array([seed, block], np.uint64)))

    def between(self, low: float, high: float) -> np.ndarray:
        return low + (high - low) * self.generator.random((BLOCK, 1, 1, 1), np.float32)

    def happens(self, probability: float) -> np.ndarray:
        return self.between(0, 1) < probability

    def sign(self) -> np.ndarray:
        return np.where(self.happens(0.5), np.float32(1), np.float32(-1))

    def normal(self, *shape: int) -> np.ndarray:
        return self.generator.standard_normal((BLOCK, *(shape or (1, 1, 1))), np.float32)


@dataclass(frozen=True)
class _Sign:
    """A row of up to three digits per image: where they stand, in sign coordinates, and how bold they are."""

    glyphs: Glyphs
    cell: np.ndarray  # int [BLOCK, 3], the digits' distance fields
    place: np.ndarray  # float32 [BLOCK, 3], u of each digit's middle
    end: np.ndarray  # float32 [BLOCK, 2], |u| where the ink ends on the left and on the right
    border: np.ndarray  # |u| beyond which a pixel belongs to a neighbour
    rise: np.ndarray  # v of the centre digit's middle, relative to that of the "0"
    weight: np.ndarray  # what the strokes gain on each side

    def distance(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Distance from the points (u, v) to the ink's outline, positive inside the ink."""
        image = np.arange(BLOCK).reshape(BLOCK, 1, 1, 1)
        slot = 1 + (u > self.border).astype(np.int8) - (u < -self.border)
        x = np.clip((u - self.place[image, slot]) * HEIGHT + (CELL - 1) / 2, 0, CELL - 1.01)
        y = np.clip((v + self.rise) * HEIGHT + (CELL - 1) / 2, 0, CELL - 1.01)
        column, row = x.astype(np.int32), y.astype(np.int32)
        x, y = x - column.astype(np.float32), y - row.astype(np.float32)
        field = self.glyphs.distance.reshape(-1)
        at = (self.cell[image, slot] * CELL + row) * CELL + column
        upper = field[at] * (1 - x) + field[at + 1] * x
        lower = field[at + CELL] * (1 - x) + field[at + CELL + 1] * x
        return upper * (1 - y) + lower * y + self.weight


def _render_block(seed: int, block: int, glyphs: Glyphs) -> tuple[np.ndarray, np.ndarray]:
    """The images [BLOCK, 32, 32, 3] and labels [BLOCK] of one block."""
    chance = _Chance(seed, block)
    labels = chance.generator.permutation(BLOCK) % 10
    sign = _compose_sign(chance, labels, glyphs)
    u, v, height = _aim_camera(chance)
    return _expose(chance, _paint(chance, sign, u, v, height)), labels


def _compose_sign(chance: _Chance, labels: np.ndarray, glyphs: Glyphs) -> _Sign:
    """Put a random neighbour, or none, on each side of the labels [BLOCK]."""
    font = chance.generator.integers(len(glyphs.stroke), size=(BLOCK, 1))
    digits = np.where(chance.generator.random((BLOCK, 3)) < 0.6, chance.generator.integers(10, size=(BLOCK, 3)), BLANK)
    digits[:, 1] = labels
    # Chosen is the strokes' final width, not their gain: bold digits must not clog.
    stroke = glyphs.stroke[font].reshape(BLOCK, 1, 1, 1)
    weight = np.clip((chance.between(0.13, 0.25) - stroke) / 2, -0.01, 0.05)
    gap = (chance.between(0.04, 0.35) + 2 * weight).reshape(BLOCK, 1)
    half = glyphs.half_width[font, digits]
    start = half[:, 1:2] + gap  # |u| where a neighbour's ink starts
    return _Sign(
        glyphs=glyphs,
        cell=font * (BLANK + 1) + digits,
        place=(start + half) * np.array([-1, 0, 1], np.float32),
        end=np.where(digits == BLANK, half[:, 1:2], start + 2 * half)[:, ::2],
        border=(start - gap / 2).reshape(BLOCK, 1, 1, 1),
        rise=glyphs.middle[font[:, 0], labels].reshape(BLOCK, 1, 1, 1),
        weight=weight,
    )


def _aim_camera(chance: _Chance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sign coordinates u and v of every pixel, and the height of a digit in pixels."""
    height, aspect = chance.between(16, 27), chance.between(0.65, 1.05)
    angle = np.clip(0.07 * chance.normal(), -0.2, 0.2)
    shear = np.clip(0.12 * chance.normal(), -0.3, 0.3)
    x = AXIS - chance.between(-2, 2)
    y = AXIS[:, None] - chance.between(-2, 2)
    depth = 1 + chance.between(-0.006, 0.006) * x + chance.between(-0.006, 0.006) * y
    v = (np.cos(angle) * y - np.sin(angle) * x) / (height * depth)
    u = (np.cos(angle) * x + np.sin(angle) * y) / (height * aspect * depth) + shear * v
    return u, v, height


def _paint(chance: _Chance, sign: _Sign, u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Paint wall, plate, shadow, outline and ink over one another: [BLOCK, 3, 32, 32]."""

    def cover(distance: np.ndarray) -> np.ndarray:
        """Share of each pixel that lies inside an outline."""
        return np.clip(0.5 + distance * height, 0, 1)

    def chroma(low: float, high: float) -> np.ndarray:
        """A colour shift of that strength which leaves the luma as it is."""
        shift = chance.normal(2) @ HUES
        shift -= (shift @ LUMA)[:, None]
        return chance.between(low, high) * (shift / np.linalg.norm(shift, axis=1, keepdims=True))[..., None, None]

    luma = chance.between(15, 150) + chance.between(0, 80)
    contrast = 42 + 135 * chance.between(0, 1) ** 1.6
    polarity = chance.sign()  # 1: bright digits on a dark ground
    too_far = np.abs(luma + polarity * contrast - 128) > 120
    polarity = np.where(too_far, np.where(luma < 128, np.float32(1), np.float32(-1)), polarity)
    ink = luma + polarity * contrast + chroma(2, 20)
    plate = luma + chroma(2, 20) + chance.happens(0.25) * chroma(10, 45)
    wall = luma + chance.sign() * chance.between(15, 55) + chroma(2, 25)

    left, right = (sign.end[:, side].reshape(BLOCK, 1, 1, 1) + chance.between(0.08, 0.4) for side in (0, 1))
    inside = np.minimum(np.minimum(u + left, right - u), 0.5 + chance.between(0.08, 0.3) - np.abs(v))
    picture = plate + (wall - plate) * ((1 - cover(inside)) * chance.happens(0.4))

    fallen = sign.distance(u - chance.between(-0.1, 0.1), v - chance.between(0.03, 0.1))
    picture *= 1 - cover(fallen) * chance.happens(0.2) * chance.between(0.15, 0.4)
    distance = sign.distance(u, v)
    rim = plate - 0.5 * polarity * contrast
    picture += (rim - picture) * (cover(distance + chance.between(0.04, 0.1)) * chance.happens(0.12))
    picture += (ink - picture) * cover(distance)
    return picture


def _expose(chance: _Chance, picture: np.ndarray) -> np.ndarray:
    """Light, blur and noise: the picture [BLOCK, 3, 32, 32] as uint8 [BLOCK, 32, 32, 3]."""
    knots = np.linspace(AXIS[0], AXIS[-1], 5, dtype=np.float32)
    tent = np.maximum(0, 1 - np.abs(AXIS[:, None] - knots) / (knots[1] - knots[0]))
    blotches = tent @ (chance.normal(1, 5, 5) * chance.between(0, 0.08)) @ tent.T
    slope = (chance.between(-0.25, 0.25) * AXIS + chance.between(-0.25, 0.25) * AXIS[:, None]) / SIZE
    picture = picture * (1 + blotches + slope)

    def smear(sigma: np.ndarray) -> np.ndarray:
        """The Gaussian blur along one side as a matrix [BLOCK, 1, 32, 32]; its rows add up to 1."""
        kernel = np.exp(-0.5 * ((AXIS[:, None] - AXIS) / sigma) ** 2)
        return kernel / kernel.sum(3, keepdims=True)

    sigma = chance.between(0.5, 1.5)
    down, across = smear(sigma * chance.between(0.8, 1.2)), smear(sigma * chance.between(0.8, 1.2))
    picture = down @ picture @ across.swapaxes(2, 3)
    picture += chance.normal(3, SIZE, SIZE) * chance.between(0.3, 3.5)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
