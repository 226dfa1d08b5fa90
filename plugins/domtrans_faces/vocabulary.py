"""What a face can look like, in words that hold for every style, and how often each is drawn."""

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
"""Attributes and their values. Hair is short to the ears, medium to the chin or neck, long below the shoulders."""

Table = dict[str, dict[str, Annotated[float, Field(ge=0)]]]

USUAL: Table = {
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
"""Shares, in proportion, in the spirit of the 2017 study's random Bitmoji: 3 of 10 with facial hair, 2 with glasses."""

BEARDED = {"none": 1, "short": 1, "medium": 0.1, "long": 0.05}
"""What facial hair makes of the shares of hair lengths: presentation by hair and beard goes together, though not always."""


def with_usual(shares: Table) -> Table:
    """Shares for every attribute: the given ones, else the usual. Raises ValueError for words that are not there."""
    for name, values in shares.items():
        if name not in VOCABULARY:
            raise ValueError(f"there is no attribute '{name}' (there are {', '.join(VOCABULARY)})")
        unknown = sorted(set(values) - set(VOCABULARY[name]))
        if unknown:
            raise ValueError(f"the attribute '{name}' has no value '{unknown[0]}' (it has {', '.join(VOCABULARY[name])})")
        if not any(values.values()):
            raise ValueError(f"of the attribute '{name}' some value needs a share above 0")
    # In the vocabulary's order, for a draw goes through them in order: equal tables must draw equal faces.
    tables = {name: shares.get(name, usual) for name, usual in USUAL.items()}
    return {name: {value: tables[name][value] for value in VOCABULARY[name] if value in tables[name]} for name in tables}


Shares = Annotated[Table, AfterValidator(with_usual)]
"""Type of the option ``shares``: how often each value of an attribute is drawn, in proportion; what is left out is usual."""


def choose(shares: Table, rng: random.Random) -> dict[str, str]:
    """A value for every attribute."""
    chosen: dict[str, str] = {}
    for name, values in shares.items():
        weights = dict(values)
        if name == "hair_length" and chosen["facial_hair"] == "yes":
            bearded = {value: weight * BEARDED[value] for value, weight in weights.items()}
            weights = bearded if any(bearded.values()) else weights
        chosen[name] = pick(weights, rng)
    return chosen


def pick(weights: Mapping[str, float], rng: random.Random) -> str:
    """One of the words, by weight."""
    left = rng.random() * sum(weights.values())
    for word, weight in weights.items():
        left -= weight
        if left < 0:
            return word
    return next(reversed([word for word, weight in weights.items() if weight]))  # rounding led past the end


def palette(kind: str, chosen: Mapping[str, str]) -> tuple[str, ...]:
    """The colours that skin, hair, clothes or the frames of glasses may have; ``chosen``: values of attributes."""
    if kind == "skin":
        return SKIN[chosen["skin"]]
    if kind == "hair":
        return HAIR[chosen["hair_colour"]]
    if kind == "frames":
        return PALE if chosen["skin"] == "dark" else DEEP
    return CLOTHES


SKIN = {
    "light": ("#ffdbb4", "#f1c3a5", "#f7cdb5"),
    "medium": ("#d08b5b", "#c68e7a", "#b98e6a"),
    "dark": ("#6b4030", "#5a3825", "#4a2c20"),
}
HAIR = {
    "black": ("#2c1b18", "#16110f", "#26262b"),
    "brown": ("#965f3c", "#8a5a3a", "#a06a45"),
    "blond": ("#d6b370", "#dcb455", "#e3c04f"),
    "red": ("#c93305", "#b5401a", "#d9531e"),
    "grey": ("#b8b8b8", "#d0d0d4", "#9c9ca3"),
    "other": ("#f59797", "#6a5acd", "#3fa7a0"),
}
PALE, DEEP = ("#e8e4d8", "#8fd0ff", "#f4d150"), ("#262e33", "#3c4f5c", "#5a2e20", "#25557c")
CLOTHES = ("#262e33", "#65c9ff", "#5199e4", "#25557c", "#929598", "#3c4f5c", "#a7ffc4", "#ffafb9", "#ff488e", "#ff5c5c")
