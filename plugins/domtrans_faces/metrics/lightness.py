"""Is an avatar as light or dark as the photograph that it was made from? No labels are needed, so real photographs will do."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from domtrans import ImageSet, MetricInput, NotMeasurableError, rank_correlation, to_channels
from domtrans_faces.metrics.identity import arranged

Place = Annotated[float, Field(ge=0, le=1)]


def whole(patch: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The patch, if there is anything in it; ValueError otherwise."""
    left, top, right, bottom = patch
    if left >= right or top >= bottom:
        raise ValueError("a patch is left, top, right, bottom as shares of the image's side, with left < right, top < bottom")
    return patch


Patch = Annotated[tuple[Place, Place, Place, Place], AfterValidator(whole)]
"""Left, top, right and bottom of a part of an image, as shares of its side."""


def photo_likeness(
    inputs: MetricInput,
    *,
    photo_skin: Patch = (0.35, 0.45, 0.65, 0.6),
    photo_hair: Patch = (0.3, 0.05, 0.7, 0.15),
    avatar_skin: Patch = (0.35, 0.44, 0.65, 0.57),
    avatar_hair: Patch = (0.35, 0.14, 0.65, 0.2),
) -> dict[str, float | int]:
    """Whether lighter photographs become lighter avatars: rank correlation of the lightness of skin, and of that of hair.

    Lightness is the median luma of a patch of the face, which glasses, a mouth or a highlight leave as it is; faces must stand
    at one place in the image, as in lfw and in avatars, whose patches are the defaults. No network, no labels.
    Gives ``skin_likeness``, ``hair_likeness``: Spearman's rank correlation over the source test images of the photograph's
    lightness with its avatar's; 0: the avatar has nothing of it, or is always the same. ``skin_steadiness``,
    ``hair_steadiness``: of two photographs of one person, where it is known who is on them: how much of the lightness is the
    person's, and not the lamp's or the hat's. ``n``: number of source test images.
    ``photo_skin``, ``photo_hair``: the patches of the source's images: left, top, right, bottom, as shares of the side.
    ``avatar_skin``, ``avatar_hair``: those of the target's.
    Raises NotMeasurableError for fewer than three source test images.
    """
    if len(inputs.source) < 3:
        raise NotMeasurableError("photo-likeness ranks the source's test images, and needs three of them at least")
    results: dict[str, float | int] = {"n": len(inputs.source)}
    for name, photo, avatar in (("skin", photo_skin, avatar_skin), ("hair", photo_hair, avatar_hair)):
        there = lightness(inputs.source, photo)
        results[f"{name}_likeness"] = correlation(there, lightness(inputs.transferred, avatar))
        if inputs.source.labels is not None:
            first, second, _ = arranged(inputs.source.labels.cpu(), len(there), 1)
            if len(first) > 2:
                results[f"{name}_steadiness"] = correlation(there[first], there[second])
    return results


def lightness(images: ImageSet, patch: tuple[float, float, float, float]) -> Tensor:
    """The median luma of a patch of every image, 0 to 255, float32 [N]."""
    side = images.shape[-1]
    left, top, right, bottom = (round(place * side) for place in patch)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    cut = (to_channels(block[..., top:bottom, left:right].float(), 1) for block in images.blocks())
    return torch.cat([block.flatten(1).median(1).values.cpu() for block in cut])


def correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, rounded to four places; 0 where one side is the same throughout."""
    return round(rank_correlation(list(zip(a.tolist(), b.tolist(), strict=True))) or 0.0, 4)
