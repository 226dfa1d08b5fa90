"""The domain ``avatars``: flat drawings of faces with their attributes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from domtrans import RenderedDomain, RenderedSet
from domtrans_faces.domains.drawing import credit, rasterise, rendering_dependencies, sample_face, to_svg
from domtrans_faces.domains.engine import DiceBearEngine, parameters_of
from domtrans_faces.domains.styles import STYLES, Style
from domtrans_faces.vocabulary import VOCABULARY, AttributeShares, Shares

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
    """Drawn faces (DiceBear's avataaars and other styles) with their attributes; synthetic, not Bitmoji.

    RGB, uint8 [N, 3, size, size]. They take the place of the random Bitmoji of the 2017 study: hair (colour, length and
    style), facial hair, brows, eyes, mouth and glasses are sampled at random. Rendered once and cached.

    Licence: Avataaars by Pablo Stanley, free for personal and commercial use; other styles: ToonHead by Johan Melin, Avatar
    Illustration System (micah) by Micah Lanier and Adventurer by Lisa Wischofsky, CC BY 4.0, and Lorelei by Lisa Wischofsky,
    CC0 1.0; all are remixed by DiceBear and recoloured here.

    Args:
        style: Style of the drawings.
        count: Images in the train split.
        test_count: Images in the test split.
        seed: Seed of the drawings. Image i depends on seed, split and i only.
        background: Background colour.
        shares: Relative shares of the values of an attribute, e.g. {"glasses": {"no": 1, "yes": 1}}. Values that are not
            listed do not occur; attributes that are not listed keep their default shares.
    """
    number = count if split == "train" else test_count
    return RenderedSet(
        draw_avatars,
        {"size": size, "split": split, "style": style, "seed": seed, "background": background, "shares": shares},
        size=size,
        count=number,
        vocabulary=VOCABULARY,
        about=f"avatars (drawn, {credit(style)}), {split} split, {number:,} images",
        depends=rendering_dependencies("avatars", "engine"),
        engine=DiceBearEngine(style, background),
    )


def draw_avatars(
    numbers: range, *, size: int, split: str, style: str, seed: int, background: str, shares: AttributeShares
) -> Iterator[tuple[bytes, Mapping[str, str], Mapping[str, str]]]:
    """Avatars as PNG files, with their attributes and parameters."""
    faces = [sample_face(STYLES[style], shares, random.Random(f"{seed}/{split}/{number}")) for number in numbers]
    # All Python work first: resvg evicts the processor's caches, after which this would take twice as long.
    drawings = [to_svg(face, background=background) for face in faces]
    for face, drawing in zip(faces, drawings, strict=True):
        yield rasterise(drawing, size), face.attributes, parameters_of(face)
