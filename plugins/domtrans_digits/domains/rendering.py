"""Render images that look like house numbers, from the fonts that matplotlib ships.

An image models a photographed house number: a *sign* (a row of up to three digits on a wall or plate) seen by a
*camera* (homography, light, blur, noise). Digits are signed distance fields, not bitmaps: a threshold on one field
gives any stroke width, an outline, and clean edges at any size, and a whole row needs one bilinear look-up per pixel.

Sign coordinates (u, v): the unit is the height of the font's "0", u points right, v points down, and the origin is the
centre of the middle digit's ink.

Images are rendered in blocks of ``BLOCK_SIZE``, each with its own counter-based generator keyed by (seed, block). Image i
therefore depends on the seed, the fonts and i only, not on the number of images or threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from domtrans import DomtransError

SIZE = 32  # image side, pixels
BLOCK_SIZE = 250  # images per generator; a multiple of 10, so that whole blocks are balanced

# Without fonts that have no ordinary digits, and without DejaVu Sans Oblique, which is DejaVu Sans sheared: shear is
# random anyway. Two test fonts, cmss10 and cmtt10, belong to families that no training font belongs to.
TRAIN_FONTS: tuple[str, ...] = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSerif-Italic.ttf", "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneral.ttf", "STIXGeneralItalic.ttf", "STIXGeneralBolIta.ttf",
    "cmr10.ttf", "cmb10.ttf", "cmti10.ttf",
)  # fmt: skip
TEST_FONTS: tuple[str, ...] = ("DejaVuSansMono-Bold.ttf", "STIXGeneralBol.ttf", "cmss10.ttf", "cmtt10.ttf")

ZERO_HEIGHT = 40  # height of the "0" in a distance field, in field pixels
FIELD_SIZE = 64  # side of a distance field, in field pixels
MAX_DISTANCE = 7  # distances are clipped here, in field pixels
BLANK = 10  # glyph index of "no digit"
AXIS = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2  # pixel centres along one side
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Street colours vary much more along blue-orange than along green-magenta.
HUE_AXES = np.array([[-0.50, 0.09, 0.86], [0.30, -0.19, 0.19]], np.float32)


def render_digits(count: int, *, seed: int, fonts: Sequence[str], workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Render digit images.

    Args:
        count: Number of images.
        seed: Seed, from 0 to 2**64 - 1.
        fonts: File names in matplotlib's font folder, or paths of font files.
        workers: Number of threads; None: one per processor.

    Returns:
        RGB images, uint8 [count, 32, 32, 3], and the labels of their middle digits, int64 [count]. Each block of 250
        images has every digit 25 times, in random order.

    Raises:
        DomtransError: If an argument is out of range or a font cannot be used.
    """
    if count < 1:
        raise DomtransError(f"the number of digit images must be at least 1, not {count}")
    if not 0 <= seed < 2**64:
        raise DomtransError(f"the seed must be between 0 and 2**64 - 1, not {seed}")
    if isinstance(fonts, str) or not fonts:
        raise DomtransError("rendering digits needs a list of at least one font")
    if workers is not None and workers < 1:
        raise DomtransError(f"the number of workers must be at least 1, not {workers}")

    glyphs = _load_glyphs(tuple(fonts))
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)

    def fill(block: int) -> None:
        part = slice(block * BLOCK_SIZE, min(count, (block + 1) * BLOCK_SIZE))
        block_images, block_labels = _render_block(seed, block, glyphs)
        images[part] = block_images[: part.stop - part.start]
        labels[part] = block_labels[: part.stop - part.start]

    # Threads are enough: NumPy releases the interpreter lock in its inner loops.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        list(pool.map(fill, range(-(-count // BLOCK_SIZE))))  # list() raises an exception of a thread
    return images, labels


@dataclass(frozen=True)
class Glyphs:
    """Digits 0 to 9 and a blank (index 10) in several fonts; lengths are in heights of the "0"."""

    distance: np.ndarray  # float32 [fonts, 11, FIELD_SIZE, FIELD_SIZE], distance to the outline, positive inside the ink
    half_width: np.ndarray  # float32 [fonts, 11], half the width of the ink
    middle: np.ndarray  # float32 [fonts, 11], v of the ink's centre, relative to the "0"
    stroke: np.ndarray  # float32 [fonts], width of the thickest stroke


@lru_cache(maxsize=8)
def _load_glyphs(fonts: tuple[str, ...]) -> Glyphs:
    distance, half_width, middle, stroke = zip(*map(_trace_font, fonts), strict=True)
    return Glyphs(np.stack(distance), np.stack(half_width), np.stack(middle), np.array(stroke, np.float32))


@lru_cache(maxsize=64)
def _trace_font(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The four fields of ``Glyphs`` for one font."""
    import matplotlib  # not at the top: most commands render nothing

    fine = 2  # outlines are traced at this multiple of the field resolution
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)  # an absolute name replaces the folder
    try:
        _, top, _, bottom = ImageFont.truetype(str(path), 200).getbbox("0")
        font = ImageFont.truetype(str(path), round(200 * ZERO_HEIGHT * fine / (bottom - top)))
    except (OSError, ZeroDivisionError) as error:
        raise DomtransError(f"the font {name} cannot be read or has no digits") from error

    side = FIELD_SIZE * fine
    boxes = np.array([font.getbbox(digit) for digit in "0123456789"], np.float32)  # left, top, right, bottom
    centre_v = (boxes[0, 1] + boxes[0, 3]) / 2
    ink = np.zeros((11, side, side), bool)
    for digit, (left, _, right, _) in enumerate(boxes):
        page = Image.new("L", (side, side))
        corner = ((side - left - right) / 2, side / 2 - centre_v)  # centres the ink
        ImageDraw.Draw(page).text(corner, str(digit), fill=255, font=font)
        ink[digit] = np.asarray(page) > 127

    reach = MAX_DISTANCE * fine
    signed = np.where(ink, _distance_to(~ink, reach) - 0.5, 0.5 - _distance_to(ink, reach)) / (ZERO_HEIGHT * fine)
    field = signed.reshape(11, FIELD_SIZE, fine, FIELD_SIZE, fine).mean((2, 4)).astype(np.float32)
    half_width = np.append((boxes[:, 2] - boxes[:, 0]) / 2, 0) / (ZERO_HEIGHT * fine)
    middle = np.append((boxes[:, 1] + boxes[:, 3]) / 2 - centre_v, 0) / (ZERO_HEIGHT * fine)
    return field, half_width.astype(np.float32), middle.astype(np.float32), 2 * float(field.max())


def _distance_to(target: np.ndarray, reach: int) -> np.ndarray:
    """Euclidean distance of each pixel [n, side, side] to the nearest target pixel, at most ``reach``."""
    square = np.where(target, 0, reach**2).astype(np.float32)
    for axis in (1, 2):  # the squared distance is the minimum over rows of minima over columns
        margin = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(square, margin, constant_values=reach**2)
        for shift in range(-reach, reach + 1):
            moved = np.take(padded, np.arange(reach + shift, reach + shift + square.shape[axis]), axis)
            np.minimum(square, moved + shift**2, out=square)
    return np.sqrt(square)


# Most arrays below have four axes: [BLOCK_SIZE, 1, 1, 1] is one number per image, [BLOCK_SIZE, 3, 1, 1] a colour (0 to
# 255), [BLOCK_SIZE, 1, 32, 32] a map of the image.


class _BlockRandom:
    """Random numbers of one block; each call returns one per image, [BLOCK_SIZE, 1, 1, 1], unless a shape is given."""

    def __init__(self, seed: int, block: int) -> None:
        self.generator = np.random.Generator(np.random.Philox(key=np.array([seed, block], np.uint64)))

    def uniform(self, low: float, high: float) -> np.ndarray:
        return low + (high - low) * self.generator.random((BLOCK_SIZE, 1, 1, 1), np.float32)

    def bernoulli(self, probability: float) -> np.ndarray:
        return self.uniform(0, 1) < probability

    def sign(self) -> np.ndarray:
        return np.where(self.bernoulli(0.5), np.float32(1), np.float32(-1))

    def normal(self, *shape: int) -> np.ndarray:
        return self.generator.standard_normal((BLOCK_SIZE, *(shape or (1, 1, 1))), np.float32)


@dataclass(frozen=True)
class _Sign:
    """A row of up to three digits per image: positions in sign coordinates, and stroke weight."""

    glyphs: Glyphs
    cell: np.ndarray  # int [BLOCK_SIZE, 3], index of each digit's distance field
    place: np.ndarray  # float32 [BLOCK_SIZE, 3], u of each digit's centre
    end: np.ndarray  # float32 [BLOCK_SIZE, 2], |u| where the ink ends on the left and on the right
    border: np.ndarray  # |u| beyond which a pixel belongs to a neighbour
    rise: np.ndarray  # v of the middle digit's centre, relative to the "0"
    weight: np.ndarray  # what is added to the strokes on each side

    def distance(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Distance from the points (u, v) to the ink's outline, positive inside the ink."""
        image = np.arange(BLOCK_SIZE).reshape(BLOCK_SIZE, 1, 1, 1)
        slot = 1 + (u > self.border).astype(np.int8) - (u < -self.border)
        x = np.clip((u - self.place[image, slot]) * ZERO_HEIGHT + (FIELD_SIZE - 1) / 2, 0, FIELD_SIZE - 1.01)
        y = np.clip((v + self.rise) * ZERO_HEIGHT + (FIELD_SIZE - 1) / 2, 0, FIELD_SIZE - 1.01)
        column, row = x.astype(np.int32), y.astype(np.int32)
        x, y = x - column.astype(np.float32), y - row.astype(np.float32)
        field = self.glyphs.distance.reshape(-1)
        at = (self.cell[image, slot] * FIELD_SIZE + row) * FIELD_SIZE + column
        upper = field[at] * (1 - x) + field[at + 1] * x
        lower = field[at + FIELD_SIZE] * (1 - x) + field[at + FIELD_SIZE + 1] * x
        return upper * (1 - y) + lower * y + self.weight


def _render_block(seed: int, block: int, glyphs: Glyphs) -> tuple[np.ndarray, np.ndarray]:
    """The images [BLOCK_SIZE, 32, 32, 3] and labels [BLOCK_SIZE] of one block."""
    rng = _BlockRandom(seed, block)
    labels = rng.generator.permutation(BLOCK_SIZE) % 10
    sign = _compose_sign(rng, labels, glyphs)
    u, v, height = _aim_camera(rng)
    return _photograph(rng, _paint(rng, sign, u, v, height)), labels


def _compose_sign(rng: _BlockRandom, labels: np.ndarray, glyphs: Glyphs) -> _Sign:
    """Put a random neighbour, or none, on each side of the labels [BLOCK_SIZE]."""
    font = rng.generator.integers(len(glyphs.stroke), size=(BLOCK_SIZE, 1))
    digits = np.where(rng.generator.random((BLOCK_SIZE, 3)) < 0.6, rng.generator.integers(10, size=(BLOCK_SIZE, 3)), BLANK)
    digits[:, 1] = labels
    # Draw the final stroke width, not the gain: bold digits must not close up.
    stroke = glyphs.stroke[font].reshape(BLOCK_SIZE, 1, 1, 1)
    weight = np.clip((rng.uniform(0.13, 0.25) - stroke) / 2, -0.01, 0.05)
    gap = (rng.uniform(0.04, 0.35) + 2 * weight).reshape(BLOCK_SIZE, 1)
    half = glyphs.half_width[font, digits]
    start = half[:, 1:2] + gap  # |u| where a neighbour's ink starts
    return _Sign(
        glyphs=glyphs,
        cell=font * (BLANK + 1) + digits,
        place=(start + half) * np.array([-1, 0, 1], np.float32),
        end=np.where(digits == BLANK, half[:, 1:2], start + 2 * half)[:, ::2],
        border=(start - gap / 2).reshape(BLOCK_SIZE, 1, 1, 1),
        rise=glyphs.middle[font[:, 0], labels].reshape(BLOCK_SIZE, 1, 1, 1),
        weight=weight,
    )


def _aim_camera(rng: _BlockRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sign coordinates u and v of every pixel, and the height of a digit in pixels."""
    height, aspect = rng.uniform(16, 27), rng.uniform(0.65, 1.05)
    angle = np.clip(0.07 * rng.normal(), -0.2, 0.2)
    shear = np.clip(0.12 * rng.normal(), -0.3, 0.3)
    x = AXIS - rng.uniform(-2, 2)
    y = AXIS[:, None] - rng.uniform(-2, 2)
    depth = 1 + rng.uniform(-0.006, 0.006) * x + rng.uniform(-0.006, 0.006) * y
    v = (np.cos(angle) * y - np.sin(angle) * x) / (height * depth)
    u = (np.cos(angle) * x + np.sin(angle) * y) / (height * aspect * depth) + shear * v
    return u, v, height


def _paint(rng: _BlockRandom, sign: _Sign, u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Composite wall, plate, shadow, outline and ink: [BLOCK_SIZE, 3, 32, 32]."""

    def cover(distance: np.ndarray) -> np.ndarray:
        """Coverage of each pixel by the inside of an outline."""
        return np.clip(0.5 + distance * height, 0, 1)

    def chroma(low: float, high: float) -> np.ndarray:
        """A colour shift of that strength that keeps the luma."""
        shift = rng.normal(2) @ HUE_AXES
        shift -= (shift @ LUMA)[:, None]
        return rng.uniform(low, high) * (shift / np.linalg.norm(shift, axis=1, keepdims=True))[..., None, None]

    luma = rng.uniform(15, 150) + rng.uniform(0, 80)
    contrast = 42 + 135 * rng.uniform(0, 1) ** 1.6
    polarity = rng.sign()  # 1: bright digits on a dark ground
    out_of_range = np.abs(luma + polarity * contrast - 128) > 120
    polarity = np.where(out_of_range, np.where(luma < 128, np.float32(1), np.float32(-1)), polarity)
    ink = luma + polarity * contrast + chroma(2, 20)
    plate = luma + chroma(2, 20) + rng.bernoulli(0.25) * chroma(10, 45)
    wall = luma + rng.sign() * rng.uniform(15, 55) + chroma(2, 25)

    left, right = (sign.end[:, side].reshape(BLOCK_SIZE, 1, 1, 1) + rng.uniform(0.08, 0.4) for side in (0, 1))
    inside = np.minimum(np.minimum(u + left, right - u), 0.5 + rng.uniform(0.08, 0.3) - np.abs(v))
    image = plate + (wall - plate) * ((1 - cover(inside)) * rng.bernoulli(0.4))

    shadow = sign.distance(u - rng.uniform(-0.1, 0.1), v - rng.uniform(0.03, 0.1))
    image *= 1 - cover(shadow) * rng.bernoulli(0.2) * rng.uniform(0.15, 0.4)
    distance = sign.distance(u, v)
    rim = plate - 0.5 * polarity * contrast
    image += (rim - image) * (cover(distance + rng.uniform(0.04, 0.1)) * rng.bernoulli(0.12))
    image += (ink - image) * cover(distance)
    return image


def _photograph(rng: _BlockRandom, image: np.ndarray) -> np.ndarray:
    """Add light, blur and noise: [BLOCK_SIZE, 3, 32, 32] to uint8 [BLOCK_SIZE, 32, 32, 3]."""
    knots = np.linspace(AXIS[0], AXIS[-1], 5, dtype=np.float32)
    tent = np.maximum(0, 1 - np.abs(AXIS[:, None] - knots) / (knots[1] - knots[0]))
    blotches = tent @ (rng.normal(1, 5, 5) * rng.uniform(0, 0.08)) @ tent.T
    slope = (rng.uniform(-0.25, 0.25) * AXIS + rng.uniform(-0.25, 0.25) * AXIS[:, None]) / SIZE
    image = image * (1 + blotches + slope)

    def blur_matrix(sigma: np.ndarray) -> np.ndarray:
        """Gaussian blur along one axis as a matrix [BLOCK_SIZE, 1, 32, 32] whose rows sum to 1."""
        kernel = np.exp(-0.5 * ((AXIS[:, None] - AXIS) / sigma) ** 2)
        return kernel / kernel.sum(3, keepdims=True)

    sigma = rng.uniform(0.5, 1.5)
    down, across = blur_matrix(sigma * rng.uniform(0.8, 1.2)), blur_matrix(sigma * rng.uniform(0.8, 1.2))
    image = down @ image @ across.swapaxes(2, 3)
    image += rng.normal(3, SIZE, SIZE) * rng.uniform(0.3, 3.5)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
