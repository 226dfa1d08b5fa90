"""What a recipe may know of a domain before it chooses its parts and settings. It does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DomainFacts:
    """What the training images of a domain are like. A recipe that looks at its data gets one for source and target.

    Attributes:
        images: The number of training images.
        classes: The number of images of each class; empty without labels.
        channels: 1 if every image of a sample is grey, else the channels of the domain.
        side: The median of the shorter sides of a sample, in pixels; None if the images are not in image files.
    """

    images: int
    classes: Mapping[str, int]
    channels: int
    side: int | None = None
