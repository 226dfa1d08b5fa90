"""The domain ``avatars``: flat drawings of faces, a million of them if need be, each with its attributes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from domtrans import RenderedDomain, RenderedSet
from domtrans_faces.domains.drawing import credit, drawn_by, imagine, rasterise, to_svg
from domtrans_faces.domains.styles import STYLES, Style
from domtrans_faces.vocabulary import VOCABULARY, Shares, Table

Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


@RenderedDomain
def avatars(
    split: Literal["train", "test"],
    size: int,
    *,
    style: Style = "avataaars",
    count: PositiveInt = 8_000,
    test_count: PositiveInt = 1_000,
    seed: NonNegativeInt = 0,
    background: Colour = "#ffffff",
    shares: Shares = {},  # noqa: B006 - pydantic hands in a copy
) -> RenderedSet:
    """Drawn faces (DiceBear's avataaars and other styles), each with its attributes; made up, not Bitmoji.

    They stand for the random Bitmoji of the 2017 study of the paper: gender-like presentation by hair and facial hair, hair
    colour, length and style, brows, eyes, mouth, facial hair and glasses are drawn at random. Drawn once and cached.

    ``style``: of the drawings. ``count``: images in the train split. ``test_count``: images in the test split. ``seed``: of
    what is drawn; image i hangs on seed, split and i alone. ``background``: a colour.
    ``shares``: how often each value of an attribute is drawn, in proportion, e.g. {"glasses": {"no": 1, "yes": 1}}; attributes
    left out are drawn as usual, values left out never.

    Licence: Avataaars by Pablo Stanley, free for personal and commercial use; other styles: ToonHead by Johan Melin, Avatar
    Illustration System (micah) by Micah Lanier and Adventurer by Lisa Wischofsky, CC BY 4.0, and Lorelei by Lisa Wischofsky,
    CC0 1.0; all are remixed by DiceBear and coloured anew here.
    """
    number = count if split == "train" else test_count
    return RenderedSet(
        draw_avatars,
        {"size": size, "split": split, "style": style, "seed": seed, "background": background, "shares": shares},
        size=size,
        count=number,
        vocabulary=VOCABULARY,
        about=f"avatars (drawn, {credit(style)}), {split} split, {number:,} images",
        depends=drawn_by("avatars"),
    )


def draw_avatars(
    numbers: range, *, size: int, split: str, style: str, seed: int, background: str, shares: Table
) -> Iterator[tuple[bytes, Mapping[str, str]]]:
    """Avatars as PNG files, and what they show."""
    faces = [imagine(STYLES[style], shares, random.Random(f"{seed}/{split}/{number}")) for number in numbers]
    # All of the Python first: after a picture of resvg's the processor's caches are empty, and it would take twice as long.
    drawings = [to_svg(face, background=background) for face in faces]
    for face, drawing in zip(faces, drawings, strict=True):
        yield rasterise(drawing, size), face.shows
