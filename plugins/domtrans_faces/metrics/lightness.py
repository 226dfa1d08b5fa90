"""Whether avatars follow the lightness of their photographs; needs no labels."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from domtrans import ImageSet, MetricInput, NotMeasurableError, rank_correlation, to_channels
from domtrans_faces.metrics.identity import gallery_and_probes

Coordinate = Annotated[float, Field(ge=0, le=1)]


def check_patch(patch: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The patch; ValueError if it is empty."""
    left, top, right, bottom = patch
    if left >= right or top >= bottom:
        raise ValueError(
            "a patch is left, top, right, bottom as shares of the image's side, with left < right and top < bottom"
        )
    return patch


Patch = Annotated[tuple[Coordinate, Coordinate, Coordinate, Coordinate], AfterValidator(check_patch)]
"""Left, top, right and bottom of a part of an image, as shares of the image's side."""


def photo_likeness(
    inputs: MetricInput,
    *,
    photo_skin: Patch = (0.35, 0.45, 0.65, 0.6),
    photo_hair: Patch = (0.3, 0.05, 0.7, 0.15),
    avatar_skin: Patch = (0.35, 0.44, 0.65, 0.57),
    avatar_hair: Patch = (0.35, 0.14, 0.65, 0.2),
) -> dict[str, float | int]:
    """Whether lighter photographs become lighter avatars: rank correlations of the lightness of skin and of hair.

    Lightness is the median luma of a patch of the face, which is insensitive to glasses, mouth and highlights. All faces
    must be at the same position in the image, as in lfw and avatars, for which the defaults are made. It uses no network
    and no labels.

    Args:
        photo_skin: Skin patch of the source images: left, top, right, bottom, as shares of the image's side.
        photo_hair: Hair patch of the source images.
        avatar_skin: Skin patch of the target images.
        avatar_hair: Hair patch of the target images.

    Returns:
        - ``skin_likeness``, ``hair_likeness``: Spearman's rank correlation between the lightness of photograph and avatar,
          over the source test images; 0 if the avatar is unrelated or constant
        - ``skin_steadiness``, ``hair_steadiness``: the same between two photographs of one person, if the class is the
          person: how much of the lightness belongs to the person and not to the light or a hat
        - ``n``: number of source test images

    Raises:
        NotMeasurableError: If there are fewer than three source test images.
    """
    if len(inputs.source) < 3:
        raise NotMeasurableError("photo-likeness ranks the source's test images and needs at least three of them")
    results: dict[str, float | int] = {"n": len(inputs.source)}
    for name, photo, avatar in (("skin", photo_skin, avatar_skin), ("hair", photo_hair, avatar_hair)):
        photo_lightness = lightness(inputs.source, photo)
        results[f"{name}_likeness"] = correlation(photo_lightness, lightness(inputs.transferred, avatar))
        if inputs.source.labels is not None:
            first, second, _ = gallery_and_probes(inputs.source.labels.cpu(), len(photo_lightness), 1)
            if len(first) > 2:
                results[f"{name}_steadiness"] = correlation(photo_lightness[first], photo_lightness[second])
    return results


def lightness(images: ImageSet, patch: tuple[float, float, float, float]) -> Tensor:
    """Median luma of a patch of every image, from 0 to 255, float32 [N]."""
    side = images.shape[-1]
    left, top, right, bottom = (round(coordinate * side) for coordinate in patch)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    crops = (to_channels(block[..., top:bottom, left:right].float(), 1) for block in images.blocks())
    return torch.cat([block.flatten(1).median(1).values.cpu() for block in crops])


def correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation, rounded to four decimals; 0 if one side is constant."""
    return round(rank_correlation(list(zip(a.tolist(), b.tolist(), strict=True))) or 0.0, 4)
