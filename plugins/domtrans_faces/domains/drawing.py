"""Draw faces with DiceBear, rasterise them with resvg, and record their attributes."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import resvg_py
from dicebear import Style
from dicebear.options import Options
from dicebear.renderer import Renderer
from dicebear.resolver import Resolver

from domtrans_faces.domains.styles import UNKNOWN, FaceStyle, Piece, Slot
from domtrans_faces.vocabulary import AttributeShares, palette, sample_attributes

RENDERING_PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")


@dataclass(frozen=True)
class Pose:
    """Placement of a face: ``turn`` in degrees clockwise, ``zoom``, ``right`` and ``down`` in image sides, ``mirrored``."""

    turn: float = 0.0
    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0
    mirrored: bool = False


UPRIGHT = Pose()

WITHOUT_PIECES = {"facial_hair": "no", "glasses": "no"}
"""Attributes of a face in a style without pieces for them."""


@dataclass(frozen=True)
class Face:
    """A sampled face: everything that its drawing depends on, and its visible attributes."""

    style: FaceStyle
    variants: Mapping[str, str]
    colours: Mapping[str, str]
    attributes: Mapping[str, str]


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
    style = dicebear_style(face.style.name)
    return Renderer(style, FixedResolver(style, face, background, pose)).render()


def rasterise(svg: str, size: int) -> bytes:
    """A PNG file of ``size`` x ``size`` pixels, RGBA. Without system fonts: loading them is slow, and no style has text."""
    return resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)


class FixedResolver(Resolver):
    """A DiceBear resolver with all choices made beforehand.

    DiceBear's own Resolver validates options against a JSON schema and samples them for every drawing, which takes a
    quarter of the time of resvg. The tests compare with drawings by ``dicebear.Avatar``.
    """

    def __init__(self, style: Style, face: Face, background: str | None, pose: Pose) -> None:
        super().__init__(style, NO_OPTIONS)
        self.face, self.background, self.pose = face, background, pose

    def variant(self, name: str) -> str | None:
        """The variant of a component; None if it is not drawn."""
        return self.face.variants.get(name)

    def color(self, name: str) -> list[str]:
        """The colour of that name."""
        if name == "background":
            return [self.background] if self.background else []
        return [self.face.colours[name]] if name in self.face.colours else self._style.colors()[name].values()[:1]

    def color_fill(self, name: str) -> str:
        """No gradients."""
        return "solid"

    def component_transform(self, name: str) -> dict[str, float]:
        """Components are not moved."""
        return {"rotate": 0.0, "translateX": 0.0, "translateY": 0.0, "scale": 1.0}

    def flip(self) -> str:
        """Whether the drawing is mirrored left to right."""
        return "horizontal" if self.pose.mirrored else "none"

    def rotate(self) -> float:
        """Degrees clockwise, around the centre of the canvas."""
        return self.pose.turn

    def scale(self) -> float:
        """Scale around the centre of the canvas at which the frame fills it."""
        return self.pose.zoom / self.face.style.frame[2]

    def translate_x(self) -> float:
        """Shift in percent of the canvas, applied last, that moves the centre of the frame to its place."""
        return 100 * (self.pose.right - self._frame_middle()[0])

    def translate_y(self) -> float:
        """The same shift, downwards."""
        return 100 * (self.pose.down - self._frame_middle()[1])

    def _frame_middle(self) -> tuple[float, float]:
        """Centre of the frame after scale, flip and rotation, relative to the centre of the canvas, in canvas sides."""
        x, y = (middle - 0.5 for middle in self.face.style.frame[:2])
        x, turn = -x if self.pose.mirrored else x, math.radians(self.pose.turn)
        return (
            self.scale() * (x * math.cos(turn) - y * math.sin(turn)),
            self.scale() * (x * math.sin(turn) + y * math.cos(turn)),
        )


NO_OPTIONS = Options({"seed": "domtrans"})


@functools.cache
def dicebear_style(name: str) -> Style:
    """The definition of a style; read once."""
    return Style(json.loads((resources.files("dicebear_styles") / f"{name}.json").read_text("utf-8")))


def credit(name: str) -> str:
    """Artist and licence of a style, for the description of the data."""
    meta = dicebear_style(name).meta()
    return f"{name} by {meta.creator().name()}, {meta.license().name()}"


def rendering_dependencies(*modules: str) -> dict[str, str]:
    """What drawings depend on besides options: versions of libraries, and a hash of this code and of further modules."""
    here = Path(__file__).parent
    files = (here.parent / "vocabulary.py", *(here / f"{name}.py" for name in ("drawing", "styles", *modules)))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return {name: metadata.version(name) for name in RENDERING_PACKAGES} | {"code": code.hexdigest()}
