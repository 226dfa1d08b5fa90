"""The domain ``portraits``: drawn faces in several styles, made to look like photographs, with their attributes."""

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
from domtrans_faces.domains.drawing import credit, rasterise, rendering_dependencies, sample_face, to_svg
from domtrans_faces.domains.face import Pose
from domtrans_faces.domains.nuisances import simulate_photograph
from domtrans_faces.domains.styles import STYLES, Style
from domtrans_faces.vocabulary import VOCABULARY, AttributeShares, Shares


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
    """Faces drawn in several styles and made to look like photographs, with their attributes; synthetic, no photographs.

    RGB, uint8 [N, 3, size, size]. The offline source for ``avatars``: it does not contain the target's style, and every
    attribute means the same in both. Faces are turned, shifted and mirrored, in front of plain, shaded or blurred
    backgrounds, lit from one side, with a colour cast, blur and noise. An attribute that a style lacks, or that a beard
    hides, is unknown. Rendered once and cached.

    Licence: ToonHead by Johan Melin, Avatar Illustration System (micah) by Micah Lanier and Adventurer by Lisa Wischofsky,
    CC BY 4.0; Lorelei by Lisa Wischofsky, CC0 1.0; all are remixed by DiceBear, recoloured and blurred here.

    Args:
        styles: Styles of the drawings, each equally often.
        count: Images in the train split.
        test_count: Images in the test split.
        seed: Seed of the drawings. Image i depends on seed, split and i only.
        nuisance: Strength of pose, background, light, blur and noise, from 0 (none) to 1.
        shares: Relative shares of the values of an attribute, as in the domain avatars.
    """
    number = count if split == "train" else test_count
    return RenderedSet(
        draw_portraits,
        {"size": size, "split": split, "styles": styles, "seed": seed, "nuisance": nuisance, "shares": shares},
        size=size,
        count=number,
        vocabulary=VOCABULARY,
        about=f"portraits (drawn, no photographs; {'; '.join(map(credit, styles))}), {split} split, {number:,} images",
        depends=rendering_dependencies("portraits", "nuisances") | {"numpy": np.__version__},
    )


def draw_portraits(
    numbers: range, *, size: int, split: str, styles: list[str], seed: int, nuisance: float, shares: AttributeShares
) -> Iterator[tuple[npt.NDArray[np.uint8], Mapping[str, str]]]:
    """Portraits, uint8 [size, size, 3], with their attributes."""
    for number in numbers:
        rng = random.Random(f"{seed}/{split}/{number}")
        face = sample_face(STYLES[rng.choice(styles)], shares, rng)
        drawing = rasterise(to_svg(face, pose=sample_pose(rng, nuisance)), size)
        with Image.open(io.BytesIO(drawing)) as image:
            yield simulate_photograph(image, np.random.default_rng(rng.getrandbits(64)), nuisance), face.attributes


def sample_pose(rng: random.Random, strength: float) -> Pose:
    """A random placement of a face."""
    return Pose(
        turn=rng.uniform(-15, 15) * strength,
        zoom=1 + rng.uniform(-0.1, 0.2) * strength,
        right=rng.uniform(-0.06, 0.06) * strength,
        down=rng.uniform(-0.06, 0.06) * strength,
        mirrored=rng.random() < strength / 2,
    )
