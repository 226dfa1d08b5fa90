"""The parameters of a drawing: named slots, each with a choice of variants or a colour.

Wolf, Taigman, Polyak: Unsupervised Creation of Parameterized Avatars, ICCV 2017, call such a space the configuration of an
avatar engine. This module knows the values; ``engine.py`` draws them. It does not import torch, because render processes
import it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domtrans.errors import DomtransError
from domtrans.registry.parts import did_you_mean

Parameters = Mapping[str, str]
"""The value of every slot: the name of a variant, or a colour like "#d6b370"."""

COLOUR_PATTERN = "^#[0-9a-f]{6}$"


@dataclass(frozen=True)
class Choice:
    """A slot that takes one of several variants, e.g. "none", "round" and "square" glasses.

    Args:
        values: The variants that the images of the domain show. A generator chooses among them.
        extras: Further variants that the engine can draw, for people who edit a drawing. No image of the domain shows one.
    """

    values: tuple[str, ...]
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Colour:
    """A slot that takes a colour.

    Args:
        palette: The colours that the images of the domain show, each "#rrggbb" in lower case. The engine draws any other, too.
    """

    palette: tuple[str, ...]


@dataclass(frozen=True)
class ParameterSpace:
    """The slots of a drawing, in a fixed order.

    Args:
        slots: The S slots by name.
        shown_with: Slots that show in some drawings only. ``{"frames": {"glasses": ("round", "square")}}``: the slot "frames"
            shows if "glasses" is "round" or "square". With several slots, one of them is enough. Any other slot always shows.
    """

    slots: Mapping[str, Choice | Colour]
    shown_with: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The S names of the slots."""
        return tuple(self.slots)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each slot has: the length of ``values`` or ``palette``."""
        return tuple(len(known_values(slot)) for slot in self.slots.values())

    def check(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The same parameters in the order of the slots, colours in lower case.

        Raises:
            DomtransError: If a slot is unknown or missing, or a value is not one that the slot takes.
        """
        for name in parameters:
            if name not in self.slots:
                raise DomtransError(f"there is no parameter '{name}'{did_you_mean(str(name), self.slots, 'parameters')}")
        missing = [name for name in self.slots if name not in parameters]
        if missing:
            raise DomtransError(f"the parameter '{missing[0]}' is missing ({_values_in_words(self.slots[missing[0]])})")
        return {name: _checked(name, slot, parameters[name]) for name, slot in self.slots.items()}

    def hidden(self, parameters: Parameters) -> frozenset[str]:
        """The slots that have no effect on the drawing, such as the colour of glasses that it does not have."""
        return frozenset(
            name
            for name, conditions in self.shown_with.items()
            if not any(parameters[other] in values for other, values in conditions.items())
        )

    def index(self, name: str, value: str) -> int:
        """The index of a slot's value; see ``indices``."""
        return _index(self.slots[name], value)

    def indices(self, parameters: Parameters) -> list[int]:
        """The index of every slot's value in ``values`` or ``palette``.

        A colour that is not in the palette has the index of the nearest one (Euclidean distance in sRGB), and a variant of
        ``extras`` has -1.
        """
        return [self.index(name, parameters[name]) for name in self.slots]

    def shown_indices(self, parameters: Parameters) -> list[int]:
        """``indices``, with -1 for every hidden slot: what the image of these parameters can be asked for."""
        hidden = self.hidden(parameters)
        pairs = zip(self.slots, self.indices(parameters), strict=True)
        return [-1 if name in hidden else index for name, index in pairs]

    def parameters(self, indices: Sequence[int]) -> dict[str, str]:
        """The parameters at S indices, one per slot. -1 stands for the first value of a slot.

        Raises:
            DomtransError: If there are not S indices, or one is out of range.
        """
        if len(indices) != len(self.slots):
            raise DomtransError(f"there are {len(indices)} indices, but {len(self.slots)} parameters")
        return {name: _at(name, slot, int(index)) for (name, slot), index in zip(self.slots.items(), indices, strict=True)}

    def json_schema(self) -> dict[str, Any]:
        """The parameters as a JSON schema (draft 2020-12)."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {name: _schema(slot) for name, slot in self.slots.items()},
            "required": list(self.slots),
            "additionalProperties": False,
        }


def known_values(slot: Choice | Colour) -> tuple[str, ...]:
    """The values of a slot that images of the domain show."""
    return slot.values if isinstance(slot, Choice) else slot.palette


def _values_in_words(slot: Choice | Colour) -> str:
    """What a slot takes, for messages."""
    if isinstance(slot, Choice):
        return f"values: {', '.join(slot.values + slot.extras)}"
    return f"a colour like {slot.palette[0]}"


def _checked(name: str, slot: Choice | Colour, value: Any) -> str:
    if isinstance(slot, Colour):
        if isinstance(value, str) and re.fullmatch("#[0-9a-f]{6}", value.lower()):
            return value.lower()
    elif value in slot.values or value in slot.extras:
        return str(value)
    raise DomtransError(f"the parameter '{name}' cannot be {value!r:.60} ({_values_in_words(slot)})")


def _index(slot: Choice | Colour, value: str) -> int:
    if isinstance(slot, Choice):
        return slot.values.index(value) if value in slot.values else -1
    distances = [sum((a - b) ** 2 for a, b in zip(_rgb(value), _rgb(colour), strict=True)) for colour in slot.palette]
    return distances.index(min(distances))


def _at(name: str, slot: Choice | Colour, index: int) -> str:
    values = known_values(slot)
    if not -1 <= index < len(values):
        raise DomtransError(f"the parameter '{name}' has {len(values)} values, and none with the index {index}")
    return values[max(index, 0)]


def _rgb(colour: str) -> bytes:
    return bytes.fromhex(colour.removeprefix("#"))


def _schema(slot: Choice | Colour) -> dict[str, Any]:
    if isinstance(slot, Choice):
        return {"enum": [*slot.values, *slot.extras]}
    return {"type": "string", "pattern": COLOUR_PATTERN, "examples": list(slot.palette)}
