"""Styles of drawn faces: the attribute values, in terms of ``vocabulary.py``, that each piece of a DiceBear style shows.

Without pieces that show something else (hats, sunglasses, masks, hearts for eyes), or whose attributes cannot be
recognised at 64 pixels. docs/recipes/faces/styles.md names the artist and the licence of each style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

UNKNOWN = "?"
"""Value of an attribute that a piece hides, as a beard may hide the mouth."""


@dataclass(frozen=True)
class Piece:
    """Something that a style can draw: its variant of each DiceBear component, and the attribute values that it shows."""

    variants: Mapping[str, str]
    attributes: Mapping[str, str]


Slot = tuple[Piece, ...]
"""Alternative pieces; a face has exactly one of them."""


def slot(components: str, attributes: str, table: Mapping[str, str]) -> Slot:
    """A slot from a table ``{"attribute values": "pieces that show them"}``.

    A piece is one variant per component, joined by "+"; "-" leaves the component out.
    """
    return tuple(
        Piece(
            {part: variant for part, variant in zip(components.split(), piece.split("+"), strict=True) if variant != "-"},
            dict(zip(attributes.split(), values.split(), strict=False)),
        )
        for values, pieces in table.items()
        for piece in pieces.split()
    )


def with_prefix(prefix: str, numbers: str) -> str:
    """``"hair01 hair05"`` from ``("hair", "01 05")``."""
    return " ".join(prefix + number for number in numbers.split())


@dataclass(frozen=True)
class FaceStyle:
    """How a DiceBear style is used.

    Attributes:
        name: Name of the style.
        frame: Centre x, centre y and side of the visible square, in canvas sides, so that faces of all styles have about
            the same size.
        slots: The attributes of a later slot override those of an earlier one.
        colours: For each colour of the style, the palette (``vocabulary.palette``) that it is sampled from.
        free: Components whose variant is sampled without regard to attributes.
    """

    name: str
    frame: tuple[float, float, float]
    slots: tuple[Slot, ...]
    colours: Mapping[str, str]
    free: tuple[str, ...] = ()


AVATAAARS = FaceStyle(
    "avataaars",
    frame=(0.5, 0.44, 0.9),
    slots=(
        slot("mouth", "mouth", {
            "smile": "smile twinkle default", "neutral": "serious", "sad": "sad", "open": "screamOpen concerned",
        }),
        slot("eyes", "eyes", {"open": "default side", "closed": "closed happy", "wide": "surprised", "wink": "wink"}),
        slot("eyebrows", "brows", {
            "neutral": "default defaultNatural flatNatural",
            "raised": "raisedExcited raisedExcitedNatural",
            "angry": "angry angryNatural",
            "sad": "sadConcerned sadConcernedNatural frownNatural",
        }),
        slot("top", "hair_length hair_style", {
            "none": "-",
            "short straight": "shortFlat shortRound theCaesar theCaesarAndSidePart",
            "short curly": "shortCurly shortWaved dreads01 dreads02",
            "medium straight": "bob miaWallace longButNotTooLong",
            "medium curly": "curly fro froBand",
            "medium tied": "bun",
            "long straight": "straight01 straight02 straightAndStrand",
            "long curly": "curvy bigHair dreads",
        }),
        slot("facialHair", "facial_hair", {
            "no": "-", "yes": "beardLight beardMajestic beardMedium moustacheFancy moustacheMagnum",
        }),
        slot("accessories", "glasses", {"no": "-", "yes": "prescription01 prescription02 round"}),
    ),
    colours={"skin": "skin", "hair": "hair", "facialHair": "hair", "clothes": "clothes", "accessories": "frames"},
    free=("clothes", "clothesGraphic", "nose"),
)  # fmt: skip

TOON_HEAD = FaceStyle(
    "toon-head",
    frame=(0.5, 0.45, 0.86),
    slots=(
        slot("mouth", "mouth", {"smile": "laugh", "sad": "angry", "open": "agape"}),
        slot("eyes", "eyes", {"open": "happy", "closed": "bow humble", "wide": "wide", "wink": "wink"}),
        slot("eyebrows", "brows", {"neutral": "neutral", "raised": "raised", "angry": "angry", "sad": "sad"}),
        slot("hair rearHair", "hair_length hair_style", {
            "short straight": "sideComed+- spiky+- undercut+-",
            "medium straight": "sideComed+neckHigh undercut+neckHigh",
            "medium curly": "sideComed+shoulderHigh undercut+shoulderHigh",
            "medium tied": "bun+-",
            "long straight": "sideComed+longStraight undercut+longStraight",
            "long curly": "sideComed+longWavy undercut+longWavy",
        }),
        slot("beard", "facial_hair mouth", {
            "no": "-", "yes": "chinMoustache moustacheTwirl", f"yes {UNKNOWN}": "fullBeard longBeard",
        }),
    ),
    colours={"skin": "skin", "hair": "hair", "clothes": "clothes"},
    free=("clothes", "body", "head"),
)  # fmt: skip

MICAH = FaceStyle(
    "micah",
    frame=(0.5, 0.44, 0.88),
    slots=(
        slot("mouth", "mouth", {"smile": "smile smirk laughing", "sad": "sad frown", "open": "surprised"}),
        slot("eyes", "eyes", {"open": "eyes eyesShadow round", "closed": "smiling smilingShadow"}),
        slot("hair", "hair_length hair_style", {
            "none": "mrClean",
            "short straight": "fonze mrT",
            "medium straight": "dannyPhantom pixie",
            "long curly": "full",
        }),
        slot("facialHair", "facial_hair mouth", {"no": "-", f"yes {UNKNOWN}": "beard"}),
        slot("glasses", "glasses", {"no": "-", "yes": "round square"}),
    ),
    colours={
        "base": "skin", "hair": "hair", "facialHair": "hair", "eyebrows": "hair", "shirt": "clothes", "glasses": "frames",
    },
    free=("clothes", "ears", "eyebrows", "nose", "head"),
)  # fmt: skip

LORELEI = FaceStyle(
    "lorelei",
    frame=(0.5, 0.44, 0.8),
    slots=(
        slot("mouth", "mouth", {
            "smile": with_prefix("happy", "01 02 03 04 05 06 15 16"),
            "sad": with_prefix("sad", "03 04 05"),
            "open": with_prefix("sad", "01 02"),
        }),
        slot("eyes", "eyes", {
            "open": with_prefix("variant", "02 04 06 08 10 11 14 20 21 23 24"),
            "closed": with_prefix("variant", "01 15 19 22"),
            "wink": "variant18",
        }),
        slot("hair", "hair_length hair_style", {
            "short straight": with_prefix("variant", "01 02 03 04 06 07 08 11 12 28 43 47"),
            "short curly": with_prefix("variant", "05 09 22 39"),
            "medium straight": with_prefix("variant", "10 13 15 16 17 19 21 23 30 40"),
            "medium curly": with_prefix("variant", "18 24 32 35 37"),
            "medium tied": with_prefix("variant", "14 26 31 33 36 38 42 45 46 48"),
        }),
        slot("beard", "facial_hair mouth", {"no": "-", f"yes {UNKNOWN}": "variant01 variant02"}),
        slot("glasses", "glasses", {"no": "-", "yes": with_prefix("variant", "01 03 04")}),
    ),
    colours={"skin": "skin", "hair": "hair", "glasses": "frames"},
    free=("eyebrows", "head", "nose"),
)  # fmt: skip

ADVENTURER = FaceStyle(
    "adventurer",
    frame=(0.5, 0.48, 0.86),
    slots=(
        slot("mouth", "mouth", {
            "smile": with_prefix("variant", "01 02 05 22 23 25 26 27 28 30"),
            "neutral": with_prefix("variant", "06 09 10"),
            "sad": with_prefix("variant", "04 14"),
            "open": with_prefix("variant", "03 15 18"),
        }),
        slot("eyes", "eyes", {
            "open": with_prefix("variant", "05 11 12 13 16 18"),
            "closed": with_prefix("variant", "19 20"),
            "wide": with_prefix("variant", "01 02 03 24 25 26"),
            "wink": with_prefix("variant", "21 22"),
        }),
        slot("hair", "hair_length hair_style", {
            "none": "-",
            "short straight": with_prefix("short", "01 02 04 10 11 13 14 15"),
            "short curly": with_prefix("short", "03 07 08 09 17 18"),
            "medium straight": with_prefix("long", "01 02 05 21 25 26"),
            "medium curly": with_prefix("long", "17 22 24"),
            "medium tied": with_prefix("long", "10 11 12 13 14 15 19 23"),
            "long straight": with_prefix("long", "04 07"),
            "long curly": with_prefix("long", "06 09"),
        }),
        slot("glasses", "glasses", {"no": "-", "yes": with_prefix("variant", "02 04 05")}),
    ),
    colours={"skin": "skin", "hair": "hair", "glasses": "frames"},
    free=("eyebrows", "head"),
)  # fmt: skip

Style = Literal["avataaars", "toon-head", "micah", "lorelei", "adventurer"]
STYLES: dict[str, FaceStyle] = {style.name: style for style in (AVATAAARS, TOON_HEAD, MICAH, LORELEI, ADVENTURER)}
