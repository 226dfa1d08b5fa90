"""A face, drawn by DiceBear in one of its styles and rasterised by resvg, and what can be seen of it."""

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
from domtrans_faces.vocabulary import Table, choose, palette

SOFTWARE = ("dicebear-core", "dicebear-styles", "resvg-py")


@dataclass(frozen=True)
class Pose:
    """How a face is seen: ``turn`` clockwise in degrees, ``zoom``, ``right`` and ``down`` in image sides, ``mirrored``."""

    turn: float = 0.0
    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0
    mirrored: bool = False


UPRIGHT = Pose()

BARE = {"facial_hair": "no", "glasses": "no"}
"""What a face shows in a style that has no pieces for it."""


@dataclass(frozen=True)
class Face:
    """A face that has been decided on: everything that its drawing hangs on, and ``shows``, what a viewer could say of it."""

    style: FaceStyle
    variants: Mapping[str, str]
    colours: Mapping[str, str]
    shows: Mapping[str, str]


def imagine(style: FaceStyle, shares: Table, rng: random.Random) -> Face:
    """A random face. What it shows is read off the pieces that were chosen, so that it is never other than what is drawn."""
    wanted = choose(shares, rng)
    variants: dict[str, str] = {}
    shows = {"skin": wanted["skin"], "hair_colour": wanted["hair_colour"], **BARE}
    for pieces in style.slots:
        piece = rng.choice(nearest(pieces, wanted))
        variants |= piece.variants
        shows |= piece.shows
    if shows["hair_length"] == "none":
        shows["hair_colour"] = UNKNOWN
    components = dicebear_style(style.name).components()
    for component in style.free:
        variants[component] = rng.choice(list(components[component].variants()))
    paints = {kind: rng.choice(palette(kind, wanted)) for kind in dict.fromkeys(style.colours.values())}
    colours = {colour: paints[kind] for colour, kind in style.colours.items()}
    return Face(style, variants, colours, {name: value for name, value in shows.items() if value != UNKNOWN})


def nearest(pieces: Slot, wanted: Mapping[str, str]) -> list[Piece]:
    """The pieces that show what is wanted; where a style has none that shows it all, the first attributes count first."""
    left = list(pieces)
    for attribute in dict.fromkeys(name for piece in pieces for name in piece.shows):
        left = [piece for piece in left if piece.shows.get(attribute) == wanted[attribute]] or left
    return left


def to_svg(face: Face, *, background: str | None = None, pose: Pose = UPRIGHT) -> str:
    """The drawing as SVG; ``background``: a colour like "#ffffff", None: transparent."""
    style = dicebear_style(face.style.name)
    return Renderer(style, Decided(style, face, background, pose)).render()


def rasterise(svg: str, size: int) -> bytes:
    """A PNG file of size x size pixels, RGBA. No style has text, so fonts are not looked for: that takes long."""
    return resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)


class Decided(Resolver):
    """DiceBear's choices, already made.

    Its Resolver would check options against a JSON schema and choose by a generator of its own for every drawing, which
    takes a quarter of the time that resvg takes. The tests compare with drawings by ``dicebear.Avatar``.
    """

    def __init__(self, style: Style, face: Face, background: str | None, pose: Pose) -> None:
        super().__init__(style, NO_OPTIONS)
        self.face, self.background, self.pose = face, background, pose

    def variant(self, name: str) -> str | None:
        """The variant of a component; None: it is not drawn."""
        return self.face.variants.get(name)

    def color(self, name: str) -> list[str]:
        """The one colour of that name."""
        if name == "background":
            return [self.background] if self.background else []
        return [self.face.colours[name]] if name in self.face.colours else self._style.colors()[name].values()[:1]

    def color_fill(self, name: str) -> str:
        """Never a gradient."""
        return "solid"

    def component_transform(self, name: str) -> dict[str, float]:
        """Components stay where they are."""
        return {"rotate": 0.0, "translateX": 0.0, "translateY": 0.0, "scale": 1.0}

    def flip(self) -> str:
        """Left and right."""
        return "horizontal" if self.pose.mirrored else "none"

    def rotate(self) -> float:
        """Degrees clockwise, around the middle of the canvas."""
        return self.pose.turn

    def scale(self) -> float:
        """Around the middle of the canvas, so that the frame fills it."""
        return self.pose.zoom / self.face.style.frame[2]

    def translate_x(self) -> float:
        """Percent of the canvas, after all else: brings the middle of the frame to where it shall be."""
        return 100 * (self.pose.right - self._frame_middle()[0])

    def translate_y(self) -> float:
        """The same, downwards."""
        return 100 * (self.pose.down - self._frame_middle()[1])

    def _frame_middle(self) -> tuple[float, float]:
        """Where scale, flip and rotation take the middle of the frame, from the middle of the canvas, in canvas sides."""
        x, y = (middle - 0.5 for middle in self.face.style.frame[:2])
        x, turn = -x if self.pose.mirrored else x, math.radians(self.pose.turn)
        return (
            self.scale() * (x * math.cos(turn) - y * math.sin(turn)),
            self.scale() * (x * math.sin(turn) + y * math.cos(turn)),
        )


NO_OPTIONS = Options({"seed": "domtrans"})


@functools.cache
def dicebear_style(name: str) -> Style:
    """The definition of a style, read once."""
    return Style(json.loads((resources.files("dicebear_styles") / f"{name}.json").read_text("utf-8")))


def credit(name: str) -> str:
    """Whose drawings they are, and under which licence, e.g. for the line that says what the data is."""
    about = dicebear_style(name).meta()
    return f"{name} by {about.creator().name()}, {about.license().name()}"


def drawn_by(*modules: str) -> dict[str, str]:
    """What drawings hang on beside options: versions of libraries, and the code here and in some more modules."""
    here = Path(__file__).parent
    files = (here.parent / "vocabulary.py", *(here / f"{name}.py" for name in ("drawing", "styles", *modules)))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return {name: metadata.version(name) for name in SOFTWARE} | {"code": code.hexdigest()}
