"""Colour management: what a file says about its colours, and the conversion to sRGB.

The ICC profile counts, or for a PNG without one its gamma (gAMA) and primaries (cHRM). A profile that is damaged, or belongs to
another colour space than the pixels, is ignored, as browsers do.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

SRGB_GAMMA = 1 / 2.2
"""The gamma of a PNG that stands for sRGB."""
GAMMA_TOLERANCE = 0.05
"""Relative difference of gammas that does not matter, as in libpng."""

SRGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of white, red, green and blue."""
CHROMATICITY_TOLERANCE = 0.002

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Parameters of sRGB's transfer function in an ICC profile."""

D50 = (0.9642, 1.0, 0.8249)
"""XYZ of the white of ICC profiles."""

BRADFORD = np.array([(0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)])
"""XYZ to the cone responses in which whites are adapted."""

MAX_SRGB_DIFFERENCE = 2
"""Levels that a profile may change a colour by and still counts as sRGB."""

Curve = npt.NDArray[np.uint8]
"""uint8 [256]: the sRGB value of every grey value."""


def find_profile(image: Image.Image) -> bytes | None:
    """The ICC profile of an image, or one that says the same as a PNG's gamma and primaries; None for sRGB."""
    profile = image.info.get("icc_profile")
    if profile:
        return profile if isinstance(profile, bytes) else None
    if "srgb" in image.info or not ("gamma" in image.info or "chromaticity" in image.info):
        return None
    with suppress(TypeError, ValueError, struct.error, np.linalg.LinAlgError):  # numbers that make no sense
        return _png_profile(image.info.get("gamma"), image.info.get("chromaticity"))
    return None


def colours_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An RGB, RGBA or CMYK image with this profile in sRGB; the same image if the profile does not change it."""
    transform = _transform(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


@lru_cache(maxsize=32)
def grey_to_srgb(profile: bytes) -> Curve | None:
    """The curve of a profile for grey or RGB images; None if it does not change greys."""
    greys = Image.frombytes("L", (256, 1), bytes(range(256)))
    with suppress(Exception):  # damaged profiles can raise anything
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"GRAY": "L", "RGB": "RGB"}[source.profile.xcolor_space.strip()]
        transform = _build_transform(source, mode, "RGB")
        curve = np.asarray(ImageCms.applyTransform(greys.convert(mode), transform))[0, :, 1]
        return None if np.abs(curve.astype(int) - np.arange(256)).max() <= MAX_SRGB_DIFFERENCE else curve
    return None


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform of a profile for images of a mode; None if there is nothing to change."""
    with suppress(Exception):  # damaged profiles can raise anything
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != mode.removesuffix("A"):
            return None
        if mode == "CMYK":
            return _build_transform(source, mode, "RGB")
        levels = np.linspace(0, 255, 6).round().astype(np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(6, 36, 3)
        changed = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), _build_transform(source, "RGB", "RGB")))
        is_srgb = np.abs(changed.astype(int) - colours).max() <= MAX_SRGB_DIFFERENCE
        return None if is_srgb else _build_transform(source, mode, mode)
    return None


def _build_transform(source: ImageCms.ImageCmsProfile, mode: str, result_mode: str) -> ImageCms.ImageCmsTransform:
    intent = ImageCms.Intent(ImageCms.getDefaultIntent(source))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, result_mode, intent)


def _png_profile(gamma: float | None, chromaticities: Sequence[float] | None) -> bytes | None:
    """An RGB profile with the gamma and the primaries of a PNG; None if they are those of sRGB."""
    is_srgb_gamma = gamma is None or abs(gamma / SRGB_GAMMA - 1) < GAMMA_TOLERANCE
    points = np.array(SRGB_CHROMATICITIES if chromaticities is None else chromaticities)
    if min(1 if gamma is None else gamma, *points) <= 0:
        return None
    if is_srgb_gamma and np.abs(points - SRGB_CHROMATICITIES).max() < CHROMATICITY_TOLERANCE:
        return None
    return rgb_profile(points, None if gamma is None else 1 / gamma)


def rgb_profile(chromaticities: Sequence[float] | npt.NDArray[np.float64], exponent: float | None = None) -> bytes:
    """The bytes of an ICC profile.

    Args:
        chromaticities: x and y of white, red, green and blue.
        exponent: Of the transfer function: linear = value ** exponent. None: sRGB's transfer function.

    Returns:
        An ICC profile of version 4.
    """
    x, y = np.asarray(chromaticities, dtype=np.float64).reshape(4, 2).T
    white, *primaries = np.stack([x / y, np.ones(4), (1 - x - y) / y], 1)
    to_xyz = np.stack(primaries, 1)
    to_xyz *= np.linalg.solve(to_xyz, white)
    adapt = np.diag(BRADFORD @ D50 / (BRADFORD @ white))
    to_d50 = np.linalg.inv(BRADFORD) @ adapt @ BRADFORD @ to_xyz
    curve = _numbers(b"para\0\0\0\0\0\3\0\0", SRGB_CURVE) if exponent is None else _numbers(b"para" + bytes(8), [exponent])
    tags = {b"wtpt": _numbers(b"XYZ \0\0\0\0", D50)}
    for colour, column in zip((b"r", b"g", b"b"), to_d50.T, strict=True):
        tags |= {colour + b"XYZ": _numbers(b"XYZ \0\0\0\0", column), colour + b"TRC": curve}
    table, content = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(content), len(value))
        content += value
    size = 128 + len(table) + len(content)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x04000000, b"mntr", b"RGB ", b"XYZ ", b"acsp") + _numbers(b"", D50)
    return header.ljust(128, b"\0") + table + content


def _numbers(prefix: bytes, values: Sequence[float] | npt.NDArray[np.float64]) -> bytes:
    """An ICC tag of numbers, which are stored as 16.16 fixed point."""
    return prefix + struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))
