"""A drawing as data: parameters with the engine that draws them, and the JSON files that hold both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from domtrans.data.domains import find_engine, rendered_part
from domtrans.data.engine import DrawingEngine
from domtrans.data.svg import check_svg, with_size
from domtrans.errors import DomtransError
from domtrans.registry.parts import Part, check_plain
from domtrans.registry.registry import Registry

FORMAT = "domtrans parameters 1"
MAX_FILE_BYTES = 10**6
FIELDS = ("format", "engine", "version", "parameters")


@dataclass(frozen=True)
class NamedEngine:
    """The engine of a domain, with the domain's name and those options that the drawings depend on.

    Attributes:
        part: What a file of parameters says about the engine.
        engine: The engine.
    """

    part: Part
    engine: DrawingEngine

    @classmethod
    def of(cls, registry: Registry, domain: Part) -> NamedEngine | None:
        """The engine that draws the images of a domain, or None."""
        engine, rendered = find_engine(registry, domain), rendered_part(registry, domain)
        if engine is None or rendered is None:
            return None
        return cls(Part(name=rendered.name, options=dict(engine.options)), engine)

    def draw(self, parameters: Mapping[str, Any]) -> Drawing:
        """A drawing. Raises DomtransError if the engine does not take the parameters."""
        return Drawing(self, self.engine.space.check(parameters))

    def json_schema(self) -> dict[str, Any]:
        """A file of parameters for this engine as a JSON schema (draft 2020-12)."""
        schema = self.engine.space.json_schema()
        return {
            "$schema": schema.pop("$schema"),
            "type": "object",
            "properties": {
                "format": {"const": FORMAT},
                "engine": {"const": self.part.model_dump(mode="json")},
                "version": {"type": "string"},
                "parameters": schema,
            },
            "required": ["format", "engine", "parameters"],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class Drawing:
    """Checked parameters with the engine that draws them.

    Attributes:
        named_engine: The engine, by the name of its part.
        parameters: The value of every slot.
        written_by: The version of the engine that a file names; empty for parameters that are not from a file.
    """

    named_engine: NamedEngine
    parameters: dict[str, str]
    written_by: str = ""

    @property
    def note(self) -> str:
        """A sentence if the drawing may look different from the one whose parameters were written; else empty."""
        version = self.named_engine.engine.version
        if self.written_by in ("", version):
            return ""
        return f"the parameters were written with {self.written_by}, and {version} draws them, so details may differ"

    def to_svg(self, size: int | None = None) -> str:
        """The drawing as SVG, checked to draw only; with ``size``, its width and height in pixels."""
        svg = check_svg(self.named_engine.engine.to_svg(self.parameters))
        return svg if size is None else with_size(svg, size)

    def pixels(self, size: int) -> npt.NDArray[np.uint8]:
        """The drawing as uint8 [size, size, 3]."""
        return self.named_engine.engine.rasterise(self.parameters, size)

    def to_pil(self, size: int) -> Image.Image:
        """The drawing as an RGB image of this size."""
        return Image.fromarray(self.pixels(size))

    def to_json(self) -> str:
        """The drawing as the text of a file of parameters."""
        engine = self.named_engine.engine
        fields = (FORMAT, self.named_engine.part.model_dump(mode="json"), engine.version, self.parameters)
        return json.dumps(dict(zip(FIELDS, fields, strict=True)), indent=2, ensure_ascii=False) + "\n"


def read_drawing(path: Path, registry: Registry) -> Drawing:
    """Read a file of parameters.

    Raises:
        DomtransError: If it cannot be read or is not such a file, its engine is not installed, or the engine does not take its
            parameters. The sentence names the file.
    """
    try:
        return _drawing(_read_json(path), registry)
    except OSError as error:
        raise DomtransError(f"{path} cannot be read: {error.strerror}") from None
    except DomtransError as error:
        raise DomtransError(f"{path}: {error}") from None


def _read_json(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise DomtransError(f"it has more than {MAX_FILE_BYTES:,} bytes, too many for the parameters of a drawing")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DomtransError(f"it is not JSON: {error}") from None


def _drawing(data: Any, registry: Registry) -> Drawing:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DomtransError(
            f"it does not hold the parameters of a drawing, for which 'format' is '{FORMAT}'; `domtrans transfer` writes such "
            "files with --parameters"
        )
    engine, parameters = data.get("engine"), data.get("parameters")
    if not isinstance(engine, dict) or not isinstance(engine.get("name"), str) or not isinstance(parameters, dict):
        raise DomtransError("'engine' must be a table with a name, and 'parameters' a table")
    check_plain(data, "the file")
    unknown = sorted(set(data) - set(FIELDS))
    if unknown:
        raise DomtransError(f"there is no field '{unknown[0]}' (fields: {', '.join(FIELDS)})")
    drawing = find_named_engine(registry, Part.model_validate(engine)).draw(parameters)
    return replace(drawing, written_by=str(data.get("version") or ""))


def find_named_engine(registry: Registry, domain: Part) -> NamedEngine:
    """The engine of a domain. Raises DomtransError if the domain does not exist or has none."""
    named = NamedEngine.of(registry, domain)
    if named is None:
        raise DomtransError(f"the domain '{domain.name}' has no drawing engine; avatars has one")
    return named
