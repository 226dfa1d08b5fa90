"""The domain ``portraits``: drawn faces in several styles, seen as through a camera, each with its attributes."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import MinLen
from PIL import Image
from pydantic import Field, NonNegativeInt, PositiveInt

from domtrans import RenderedDomain, RenderedSet
from domtrans_faces.domains.drawing import Pose, credit, drawn_by, imagine, rasterise, to_svg
from domtrans_faces.domains.nuisances import photograph
from domtrans_faces.domains.styles import STYLES, Style
from domtrans_faces.vocabulary import VOCABULARY, Shares, Table


@RenderedDomain
def portraits(
    split: Literal["train", "test"],
    size: int,
    *,
    styles: Annotated[list[Style], MinLen(1)] = ["toon-head", "micah", "lorelei", "adventurer"],  # noqa: B006 - copied
    count: PositiveInt = 8_000,
    test_count: PositiveInt = 1_000,
    seed: NonNegativeInt = 0,
    nuisance: Annotated[float, Field(ge=0, le=1)] = 1.0,
    shares: Shares = {},  # noqa: B006 - pydantic hands in a copy
) -> RenderedSet:
    """Faces drawn in several styles and photographed, so to speak, each with its attributes; made up, no photographs.

    The offline source for ``avatars``: no image shows the target's style, and every attribute means the same in both. Faces are
    turned, shifted and mirrored, before plain, shaded or blurred backgrounds, lit from one side, with a colour cast, blur and
    noise. Drawn once and cached. An attribute that a style does not have, or that a beard hides, is unknown.

    ``styles``: of the drawings, each equally often. ``count``: images in the train split. ``test_count``: images in the test
    split. ``seed``: of what is drawn; image i hangs on seed, split and i alone. ``nuisance``: how much a camera adds,
    0 (nothing) to 1. ``shares``: how often each value of an attribute is drawn, as in the domain avatars.

    Licence: ToonHead by Johan Melin, Avatar Illustration System (micah) by Micah Lanier and Adventurer by Lisa Wischofsky,
    CC BY 4.0; Lorelei by Lisa Wischofsky, CC0 1.0; all are remixed by DiceBear, coloured anew and blurred here.
    """
    number = count if split == "train" else test_count
    return RenderedSet(
        draw_portraits,
        {"size": size, "split": split, "styles": styles, "seed": seed, "nuisance": nuisance, "shares": shares},
        size=size,
        count=number,
        vocabulary=VOCABULARY,
        about=f"portraits (drawn, no photographs; {'; '.join(map(credit, styles))}), {split} split, {number:,} images",
        depends=drawn_by("portraits", "nuisances") | {"numpy": np.__version__},
    )


def draw_portraits(
    numbers: range, *, size: int, split: str, styles: list[str], seed: int, nuisance: float, shares: Table
) -> Iterator[tuple[npt.NDArray[np.uint8], Mapping[str, str]]]:
    """Portraits, uint8 [size, size, 3], and what they show."""
    for number in numbers:
        rng = random.Random(f"{seed}/{split}/{number}")
        face = imagine(STYLES[rng.choice(styles)], shares, rng)
        drawing = rasterise(to_svg(face, pose=pose(rng, nuisance)), size)
        with Image.open(io.BytesIO(drawing)) as image:
            yield photograph(image, np.random.default_rng(rng.getrandbits(64)), nuisance), face.shows


def pose(rng: random.Random, strength: float) -> Pose:
    """How a face happens to be seen."""
    return Pose(
        turn=rng.uniform(-15, 15) * strength,
        zoom=1 + rng.uniform(-0.1, 0.2) * strength,
        right=rng.uniform(-0.06, 0.06) * strength,
        down=rng.uniform(-0.06, 0.06) * strength,
        mirrored=rng.random() < strength / 2,
    )
