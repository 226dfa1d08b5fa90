"""Photographic effects on drawings: background, light from one side, colour cast, blur and noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Floats = npt.NDArray[np.float32]


def simulate_photograph(drawing: Image.Image, rng: np.random.Generator, strength: float) -> npt.NDArray[np.uint8]:
    """Make an RGBA drawing with a transparent background look like a photograph: uint8 [size, size, 3].

    At ``strength`` 0 only a plain background is added.
    """
    size = drawing.width
    pixels = np.asarray(drawing, np.float32) / 255
    opacity = pixels[..., 3:]
    scene = background(size, rng, strength)
    scene += opacity * (pixels[..., :3] - scene)
    if strength == 0:
        return to_bytes(scene)
    scene *= illumination(size, rng, strength)
    scene *= rng.uniform(1 - 0.12 * strength, 1 + 0.08 * strength, 3).astype(np.float32)  # a colour cast
    scene = np.clip(scene, 0, 1) ** np.float32(np.exp(rng.uniform(-0.3, 0.3) * strength))  # exposure
    blurred = Image.fromarray(to_bytes(scene)).filter(ImageFilter.GaussianBlur(rng.uniform(0, size / 80) * strength))
    noise = rng.standard_normal((size, size, 3), np.float32) * np.float32(rng.uniform(0, 0.04) * strength)
    return to_bytes(np.asarray(blurred, np.float32) / 255 + noise)


def background(size: int, rng: np.random.Generator, strength: float) -> Floats:
    """A plain colour, a gradient, or out-of-focus shapes: [size, size, 3] in [0, 1]."""
    kind = rng.choice(3) if rng.random() < strength else 0
    if kind == 0:
        return np.tile(colours(1, rng), (size, size, 1))
    if kind == 1:
        first, last = colours(2, rng)
        return first + (last - first) * ramp(size, rng)[..., None]
    # A few random colours, enlarged smoothly, look like shapes far out of focus.
    blobs = Image.fromarray(to_bytes(colours(16, rng).reshape(4, 4, 3)))
    return np.asarray(blobs.resize((size, size), Image.Resampling.BICUBIC), np.float32) / np.float32(255)


def colours(count: int, rng: np.random.Generator) -> Floats:
    """Random muted colours, as surroundings have: [count, 3] in [0, 1]."""
    grey, tint = rng.uniform(0.05, 0.95, (count, 1)), rng.uniform(-0.2, 0.2, (count, 3))
    return np.clip(grey + tint, 0, 1).astype(np.float32)


def illumination(size: int, rng: np.random.Generator, strength: float) -> Floats:
    """Brightness factor of each pixel, [size, size, 1]: light from one side, at most 45 % less on the other."""
    darker = np.float32(rng.uniform(0, 0.45) * strength)
    return np.float32(1) - darker * ramp(size, rng)[..., None]


def ramp(size: int, rng: np.random.Generator) -> Floats:
    """Linear ramp from 0 to 1 in a random direction: [size, size]."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope = np.float32(np.cos(angle)) * axis[None] + np.float32(np.sin(angle)) * axis[:, None]
    return (slope - slope.min()) / (slope.max() - slope.min())


def to_bytes(scene: Floats) -> npt.NDArray[np.uint8]:
    """[0, 1] to uint8, clipped."""
    return (np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8)
