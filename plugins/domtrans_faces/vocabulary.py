"""Attributes of faces, with the same values for every style, and how often each is drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

VOCABULARY: dict[str, tuple[str, ...]] = {
    "skin": ("light", "medium", "dark"),
    "facial_hair": ("no", "yes"),
    "glasses": ("no", "yes"),
    "hair_length": ("none", "short", "medium", "long"),
    "hair_style": ("straight", "curly", "tied"),
    "hair_colour": ("black", "brown", "blond", "red", "grey", "other"),
    "mouth": ("smile", "neutral", "sad", "open"),
    "eyes": ("open", "closed", "wide", "wink"),
    "brows": ("neutral", "raised", "angry", "sad"),
}
"""Attributes and their values. Hair is short down to the ears, medium to the chin or neck, long below the shoulders."""

AttributeShares = dict[str, dict[str, Annotated[float, Field(ge=0)]]]

DEFAULT_SHARES: AttributeShares = {
    "skin": {"light": 4, "medium": 3, "dark": 3},
    "facial_hair": {"no": 7, "yes": 3},
    "glasses": {"no": 8, "yes": 2},
    "hair_length": {"none": 0.5, "short": 3.5, "medium": 3.5, "long": 2.5},
    "hair_style": {"straight": 4, "curly": 3, "tied": 3},
    "hair_colour": {"black": 2, "brown": 2.5, "blond": 2, "red": 1.5, "grey": 1.2, "other": 0.8},
    "mouth": {"smile": 4, "neutral": 2.5, "sad": 1.5, "open": 2},
    "eyes": {"open": 6, "closed": 1.5, "wide": 1.5, "wink": 1},
    "brows": {"neutral": 4, "raised": 2, "angry": 2, "sad": 2},
}
"""Relative shares, similar to the random Bitmoji of the 2017 study: 3 of 10 with facial hair, 2 of 10 with glasses."""

HAIR_LENGTH_FACTORS_WITH_BEARD = {"none": 1, "short": 1, "medium": 0.1, "long": 0.05}
"""Factors on the shares of hair lengths for faces with facial hair, which mostly have short hair."""


def with_defaults(shares: AttributeShares) -> AttributeShares:
    """Shares for every attribute: the given ones, else the defaults. Raises ValueError for unknown attributes or values."""
    for name, values in shares.items():
        if name not in VOCABULARY:
            raise ValueError(f"unknown attribute '{name}' (attributes: {', '.join(VOCABULARY)})")
        unknown = sorted(set(values) - set(VOCABULARY[name]))
        if unknown:
            raise ValueError(f"the attribute '{name}' has no value '{unknown[0]}' (values: {', '.join(VOCABULARY[name])})")
        if not any(values.values()):
            raise ValueError(f"at least one value of the attribute '{name}' needs a share above 0")
    # In the order of the vocabulary, because sampling depends on the order: equal shares must give equal faces.
    merged = {name: shares.get(name, default) for name, default in DEFAULT_SHARES.items()}
    return {name: {value: merged[name][value] for value in VOCABULARY[name] if value in merged[name]} for name in merged}


Shares = Annotated[AttributeShares, AfterValidator(with_defaults)]
"""Type of the option ``shares``: relative shares of the values of an attribute; other attributes keep the defaults."""


def sample_attributes(shares: AttributeShares, rng: random.Random) -> dict[str, str]:
    """Sample a value for every attribute."""
    chosen: dict[str, str] = {}
    for name, values in shares.items():
        weights = dict(values)
        if name == "hair_length" and chosen["facial_hair"] == "yes":
            with_beard = {value: weight * HAIR_LENGTH_FACTORS_WITH_BEARD[value] for value, weight in weights.items()}
            weights = with_beard if any(with_beard.values()) else weights
        chosen[name] = weighted_choice(weights, rng)
    return chosen


def weighted_choice(weights: Mapping[str, float], rng: random.Random) -> str:
    """A random key, with probabilities proportional to the weights."""
    remaining = rng.random() * sum(weights.values())
    for key, weight in weights.items():
        remaining -= weight
        if remaining < 0:
            return key
    return next(reversed([key for key, weight in weights.items() if weight]))  # after rounding errors


def palette(kind: str, attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Possible colours of skin, hair, frames of glasses or clothes, for the given attribute values."""
    if kind == "skin":
        return SKIN_COLOURS[attributes["skin"]]
    if kind == "hair":
        return HAIR_COLOURS[attributes["hair_colour"]]
    if kind == "frames":
        return LIGHT_FRAMES if attributes["skin"] == "dark" else DARK_FRAMES
    return CLOTHES_COLOURS


def whole_palette(kind: str) -> tuple[str, ...]:
    """All colours of a kind, whatever the attribute values."""
    groups = {"skin": SKIN_COLOURS.values(), "hair": HAIR_COLOURS.values(), "frames": (DARK_FRAMES, LIGHT_FRAMES)}
    return tuple(colour for colours in groups.get(kind, (CLOTHES_COLOURS,)) for colour in colours)


SKIN_COLOURS = {
    "light": ("#ffdbb4", "#f1c3a5", "#f7cdb5"),
    "medium": ("#d08b5b", "#c68e7a", "#b98e6a"),
    "dark": ("#6b4030", "#5a3825", "#4a2c20"),
}
HAIR_COLOURS = {
    "black": ("#2c1b18", "#16110f", "#26262b"),
    "brown": ("#965f3c", "#8a5a3a", "#a06a45"),
    "blond": ("#d6b370", "#dcb455", "#e3c04f"),
    "red": ("#c93305", "#b5401a", "#d9531e"),
    "grey": ("#b8b8b8", "#d0d0d4", "#9c9ca3"),
    "other": ("#f59797", "#6a5acd", "#3fa7a0"),
}
LIGHT_FRAMES, DARK_FRAMES = ("#e8e4d8", "#8fd0ff", "#f4d150"), ("#262e33", "#3c4f5c", "#5a2e20", "#25557c")
CLOTHES_COLOURS = ("#262e33", "#65c9ff", "#5199e4", "#25557c", "#929598", "#3c4f5c", "#a7ffc4", "#ffafb9", "#ff488e", "#ff5c5c")
