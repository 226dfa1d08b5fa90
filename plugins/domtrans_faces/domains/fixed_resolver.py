"""What DiceBear draws of a face: all choices of a drawing, made beforehand."""

from __future__ import annotations

import math

from dicebear import Style
from dicebear.options import Options
from dicebear.resolver import Resolver

from domtrans_faces.domains.face import Face, Pose

NO_OPTIONS = Options({"seed": "domtrans"})


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
