"""Draw faces with DiceBear, rasterise them with resvg, and record their attributes."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

import resvg_py

from domtrans_faces.domains.face import UPRIGHT, Face, Pose
from domtrans_faces.domains.styles import UNKNOWN, FaceStyle, Piece, Slot
from domtrans_faces.vocabulary import AttributeShares, palette, sample_attributes

if TYPE_CHECKING:
    from dicebear import Style

RENDERING_PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")

WITHOUT_PIECES = {"facial_hair": "no", "glasses": "no"}
"""Attributes of a face in a style without pieces for them."""


def sample_face(style: FaceStyle, shares: AttributeShares, rng: random.Random) -> Face:
    """Sample a face. Its attributes are those of the sampled pieces, so that they always match the drawing."""
    wanted = sample_attributes(shares, rng)
    variants: dict[str, str] = {}
    attributes = {"skin": wanted["skin"], "hair_colour": wanted["hair_colour"], **WITHOUT_PIECES}
    for pieces in style.slots:
        piece = rng.choice(closest_pieces(pieces, wanted))
        variants |= piece.variants
        attributes |= piece.attributes
    if attributes["hair_length"] == "none":
        attributes["hair_colour"] = UNKNOWN
    components = dicebear_style(style.name).components()
    for component in style.free:
        variants[component] = rng.choice(list(components[component].variants()))
    sampled_colours = {kind: rng.choice(palette(kind, wanted)) for kind in dict.fromkeys(style.colours.values())}
    colours = {colour: sampled_colours[kind] for colour, kind in style.colours.items()}
    return Face(style, variants, colours, {name: value for name, value in attributes.items() if value != UNKNOWN})


def closest_pieces(pieces: Slot, wanted: Mapping[str, str]) -> list[Piece]:
    """The pieces with the wanted attributes; if no piece has all of them, earlier attributes take precedence."""
    candidates = list(pieces)
    for name in dict.fromkeys(name for piece in pieces for name in piece.attributes):
        candidates = [piece for piece in candidates if piece.attributes.get(name) == wanted[name]] or candidates
    return candidates


def to_svg(face: Face, *, background: str | None = None, pose: Pose = UPRIGHT) -> str:
    """The drawing as SVG; ``background`` is a colour like "#ffffff", or None for a transparent one."""
    from dicebear.renderer import Renderer  # not at the top: most commands draw no face

    from domtrans_faces.domains.fixed_resolver import FixedResolver

    style = dicebear_style(face.style.name)
    return Renderer(style, FixedResolver(style, face, background, pose)).render()


def rasterise(svg: str, size: int) -> bytes:
    """A PNG file of ``size`` x ``size`` pixels, RGBA. Without system fonts: loading them is slow, and no style has text."""
    return resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)


@functools.cache
def dicebear_style(name: str) -> Style:
    """The definition of a style; read once."""
    from dicebear import Style

    return Style(json.loads((resources.files("dicebear_styles") / f"{name}.json").read_text("utf-8")))


def credit(name: str) -> str:
    """Artist and licence of a style, for the description of the data."""
    meta = dicebear_style(name).meta()
    return f"{name} by {meta.creator().name()}, {meta.license().name()}"


def rendering_dependencies(*modules: str) -> dict[str, str]:
    """What drawings depend on besides options: versions of libraries, and a hash of this code and of further modules."""
    here = Path(__file__).parent
    drawing = (here / f"{name}.py" for name in ("drawing", "face", "fixed_resolver", "styles", *modules))
    files = (here.parent / "vocabulary.py", *drawing)
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return {name: metadata.version(name) for name in RENDERING_PACKAGES} | {"code": code.hexdigest()}
