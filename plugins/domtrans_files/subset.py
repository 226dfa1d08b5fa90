"""The domain ``subset``: part of another domain."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt

from domtrans import DomainOption, DomtransError, ImageSet

Split = Literal["train", "test"]


def subset(
    split: Split,
    size: int,
    *,
    of: DomainOption,
    without: list[str] = [],  # noqa: B006 - read as a default
    count: PositiveInt | None = None,
    drawn_from: Split | None = None,
) -> ImageSet:
    """Part of another domain: some classes unseen in training, fewer images, or the split that is meant for something else.

    ``of``: the domain. ``without``: names of classes left out of the train split; the test split has them, and every class
    keeps its label. ``count``: images of a split, at most, evenly over what there are. ``drawn_from``: take both splits from
    this one of the domain's, e.g. "train" to measure on training images.
    Raises DomtransError for a class that there is not, and where no images are left.
    """
    found: ImageSet = of(drawn_from or split, size)
    if without and split == "train":
        found = _without(found, without)
    if count is not None and count < len(found):
        found = found.take(torch.arange(count) * len(found) // count)
        found = ImageSet(found.pixels, found.labels, found.classes, f"{found.about}, {count:,} of them", found.attributes)
    return found


def _without(images: ImageSet, names: list[str]) -> ImageSet:
    unknown = sorted(set(names) - set(images.classes))
    if unknown:
        classes = ", ".join(images.classes[:12]) or "none, for it has no labels"
        raise DomtransError(
            f"subset: '{unknown[0]}' in without is no class of {images.about or 'the domain'} (classes: {classes})"
        )
    assert images.labels is not None
    left_out = torch.tensor([images.classes.index(name) for name in names], device=images.labels.device)
    index = torch.nonzero(~torch.isin(images.labels, left_out))[:, 0]
    if not len(index):
        raise DomtransError(f"subset: nothing is left of {images.about or 'the domain'} without {', '.join(names)}")
    kept = images.take(index)
    about = f"{images.about}, without {', '.join(names)}"
    return ImageSet(kept.pixels, kept.labels, kept.classes, about, kept.attributes)
