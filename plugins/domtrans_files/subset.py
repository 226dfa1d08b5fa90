"""The domain ``subset``: part of another domain."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import PositiveInt

from domtrans import DomainOption, DomtransError, ImageSet
from domtrans_files.splits import Split


def subset(
    split: Split,
    size: int,
    *,
    of: DomainOption,
    without: list[str] = [],  # noqa: B006 - never changed
    count: PositiveInt | None = None,
    drawn_from: Split | None = None,
) -> ImageSet:
    """Part of another domain: without some classes in training, with fewer images, or with another split.

    Args:
        of: The domain.
        without: Class names to leave out of the train split. The test split keeps them, and all classes keep their labels.
        count: Images per split at most, spread evenly.
        drawn_from: Take both splits from this split of the domain, e.g. "train" to measure on training images.

    Raises:
        DomtransError: If a class does not exist or no images are left.
    """
    images: ImageSet = of(drawn_from or split, size)
    if without and split == "train":
        images = _leave_out(images, without)
    if count is not None and count < len(images):
        images = images.take(torch.arange(count) * len(images) // count)
        about = f"{images.about}, {count:,} of them"
        images = replace(images, about=about)
    return images


def _leave_out(images: ImageSet, names: list[str]) -> ImageSet:
    unknown = sorted(set(names) - set(images.classes))
    if unknown:
        classes = ", ".join(images.classes[:12]) or "none, it has no labels"
        raise DomtransError(
            f"subset: '{unknown[0]}' in without is not a class of {images.about or 'the domain'} (classes: {classes})"
        )
    assert images.labels is not None
    left_out = torch.tensor([images.classes.index(name) for name in names], device=images.labels.device)
    index = torch.nonzero(~torch.isin(images.labels, left_out))[:, 0]
    if not len(index):
        raise DomtransError(f"subset: no images of {images.about or 'the domain'} are left without {', '.join(names)}")
    kept = images.take(index)
    about = f"{images.about}, without {', '.join(names)}"
    return replace(kept, about=about)
