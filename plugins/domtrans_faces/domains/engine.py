"""The engine of the domain ``avatars``: a DiceBear style as named slots, and its drawings from the values of the slots.

The slots have DiceBear's own names, ``top`` or ``facialHair``, and the colours those of DiceBear's options, ``hairColor``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from typing import Any

from domtrans import Choice, Colour, DrawingEngine, Parameters, ParameterSpace, known_values
from domtrans_faces.domains.drawing import WITHOUT_PIECES, dicebear_style, to_svg
from domtrans_faces.domains.face import Face
from domtrans_faces.domains.styles import STYLES, UNKNOWN, FaceStyle, Slot
from domtrans_faces.vocabulary import HAIR_COLOURS, SKIN_COLOURS, whole_palette

NOT_DRAWN = "none"
"""The value of a component that is left out."""


class DiceBearEngine(DrawingEngine):
    """Draws the faces of a DiceBear style.

    Args:
        style: Name of the style.
        background: Background colour.
    """

    def __init__(self, style: str, background: str) -> None:
        self.style = STYLES[style]
        self.space = parameter_space(style)
        self.options = {"style": style, "background": background}
        self.version = f"dicebear-styles {metadata.version('dicebear-styles')}"

    def to_svg(self, parameters: Parameters) -> str:
        """The drawing as SVG."""
        variants = {name: parameters[name] for name, slot in self.space.slots.items() if isinstance(slot, Choice)}
        colours = {
            name.removesuffix("Color"): parameters[name] for name, slot in self.space.slots.items() if isinstance(slot, Colour)
        }
        drawn = {name: variant for name, variant in variants.items() if variant != NOT_DRAWN}
        face = Face(self.style, constant_variants(self.style.name) | drawn, colours, {})
        return to_svg(face, background=self.options["background"])

    def attributes(self, parameters: Parameters) -> dict[str, str]:
        """The attribute values that the drawing shows. What the style's table does not list is left out."""
        skin = next(colour for colour, kind in self.style.colours.items() if kind == "skin")
        found = {
            "skin": family(SKIN_COLOURS, self.space, f"{skin}Color", parameters),
            "hair_colour": family(HAIR_COLOURS, self.space, "hairColor", parameters),
            **WITHOUT_PIECES,
        }
        for pieces in self.style.slots:
            found |= shown_by(pieces, parameters)
        if "hairColor" in self.space.hidden(parameters):
            found["hair_colour"] = UNKNOWN
        return {name: value for name, value in found.items() if value != UNKNOWN}


def shown_by(pieces: Slot, parameters: Parameters) -> Mapping[str, str]:
    """The attribute values of the piece that is drawn. Of a combination that is no piece, they are unknown."""
    components = {component for piece in pieces for component in piece.variants}
    for piece in pieces:
        if all(parameters[component] == piece.variants.get(component, NOT_DRAWN) for component in components):
            return piece.attributes
    return dict.fromkeys(set.intersection(*(set(piece.attributes) for piece in pieces)), UNKNOWN)


def family(colours: Mapping[str, tuple[str, ...]], space: ParameterSpace, name: str, parameters: Parameters) -> str:
    """The attribute value, e.g. "blond", that the nearest colour of the palette belongs to."""
    shade = known_values(space.slots[name])[space.index(name, parameters[name])]
    return next(value for value, shades in colours.items() if shade in shades)


def parameters_of(face: Face) -> dict[str, str]:
    """The parameters of a sampled face."""
    space = parameter_space(face.style.name)
    values = {**face.variants, **{f"{name}Color": colour for name, colour in face.colours.items()}}
    return {
        name: values.get(name, NOT_DRAWN if isinstance(slot, Choice) else slot.palette[0]) for name, slot in space.slots.items()
    }


@functools.cache
def parameter_space(name: str) -> ParameterSpace:
    """The slots of a style: every component with more than one variant, and every colour that can be chosen."""
    style = STYLES[name]
    slots: dict[str, Choice | Colour] = {
        component: choice
        for component in components(style)
        if len((choice := variants(style, component)).values) + len(choice.extras) > 1
    }
    for colour, definition in dicebear_style(name).colors().items():
        if colour in style.colours:
            slots[f"{colour}Color"] = Colour(whole_palette(style.colours[colour]))
        elif len(definition.values()) > 1:
            slots[f"{colour}Color"] = Colour((definition.values()[0],))  # what the domain draws it with
    uses = references(name)
    shown_with = {slot: where for slot in slots if (where := conditions(slot, slots, uses))}
    return ParameterSpace(slots, shown_with)


def components(style: FaceStyle) -> list[str]:
    """The components of a style, those with attributes first."""
    listed = [component for pieces in style.slots for piece in pieces for component in piece.variants]
    return list(dict.fromkeys([*listed, *style.free, *dicebear_style(style.name).components()]))


def variants(style: FaceStyle, component: str) -> Choice:
    """The variants of a component: those that the domain draws, and as extras the others."""
    known = tuple(dicebear_style(style.name).components()[component].variants())
    if component in style.free:
        return Choice(known)
    pieces = [piece for slot in style.slots if any(component in piece.variants for piece in slot) for piece in slot]
    drawn = tuple(dict.fromkeys(piece.variants.get(component, NOT_DRAWN) for piece in pieces)) or (NOT_DRAWN,)
    return Choice(drawn, tuple(variant for variant in known if variant not in drawn))


def constant_variants(name: str) -> dict[str, str]:
    """The components that are the same in every drawing of a style."""
    style = STYLES[name]
    slots = parameter_space(name).slots
    return {component: variants(style, component).values[0] for component in components(style) if component not in slots}


def conditions(
    slot: str, slots: Mapping[str, Choice | Colour], uses: Mapping[str, Mapping[str, set[str]]]
) -> dict[str, tuple[str, ...]]:
    """The values of other slots with which a slot shows; empty if it always does."""
    shown: dict[str, tuple[str, ...]] = {}
    for component, names in uses.get(slot, {}).items():
        choice = slots.get(component)
        if choice is None or not isinstance(choice, Choice):
            return {}  # the canvas, or a component that is always drawn
        shown[component] = tuple(value for value in choice.values + choice.extras if value in names)
        if len(shown[component]) == len(choice.values + choice.extras):
            return {}
    return shown


@functools.cache
def references(name: str) -> dict[str, dict[str, set[str]]]:
    """Where a style uses each slot: ``{"hairColor": {"top": {"bun", ...}}}``; the canvas is the component ""."""
    definition = json.loads((resources.files("dicebear_styles") / f"{name}.json").read_text("utf-8"))
    drawings = {("", ""): definition["canvas"]} | {
        (component, variant): drawing
        for component, entry in definition["components"].items()
        for variant, drawing in entry["variants"].items()
    }
    found: dict[str, dict[str, set[str]]] = {}
    for (component, variant), drawing in drawings.items():
        for slot in used_slots(drawing):
            found.setdefault(slot, {}).setdefault(component, set()).add(variant)
    return found


def used_slots(drawing: Any) -> Iterator[str]:
    """The components and colours that a part of a style's definition refers to."""
    if isinstance(drawing, dict):
        if drawing.get("type") in ("component", "color") and "name" in drawing:
            yield drawing["name"] if drawing["type"] == "component" else f"{drawing['name']}Color"
        for value in drawing.values():
            yield from used_slots(value)
    elif isinstance(drawing, list):
        for value in drawing:
            yield from used_slots(value)
