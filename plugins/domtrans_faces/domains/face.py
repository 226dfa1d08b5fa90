"""A face before it is drawn: what is chosen, and where it is placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domtrans_faces.domains.styles import FaceStyle


@dataclass(frozen=True)
class Pose:
    """Placement of a face: ``turn`` in degrees clockwise, ``zoom``, ``right`` and ``down`` in image sides, ``mirrored``."""

    turn: float = 0.0
    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0
    mirrored: bool = False


UPRIGHT = Pose()


@dataclass(frozen=True)
class Face:
    """A sampled face: everything that its drawing depends on, and its visible attributes."""

    style: FaceStyle
    variants: Mapping[str, str]
    colours: Mapping[str, str]
    attributes: Mapping[str, str]
