"""Several D's as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from domtrans import Discriminator, DomtransError, PartOf
from domtrans_images.sizes import SIZES

DiscriminatorOption = Annotated[Any, PartOf("discriminator")]
"""Annotation of an option that takes a discriminator by name: a function (channels, size, head_size) -> Discriminator."""


class JointDiscriminator(Discriminator):
    """Several discriminators as one, such as one of patches and one of whole images. Every loss is its mean over them.

    The logits of one with fewer patches are repeated, so that all have the same weight.

    Args:
        of: The discriminators. Those that are class-conditional have the same number of classes.

    Raises:
        DomtransError: If they are conditioned on different numbers of classes.
    """

    sizes = SIZES

    def __init__(
        self,
        channels: int,
        size: int,
        head_size: int = 0,
        *,
        of: Annotated[list[DiscriminatorOption], Field(min_length=1)] = [  # noqa: B006 - read as a default
            {"name": "patch-discriminator"},
            {"name": "image-discriminator"},
        ],
    ) -> None:
        super().__init__()
        built: list[Discriminator] = [build(channels, size, head_size) for build in of]
        self.of: Any = nn.ModuleList(built)
        self.compares_images = any(each.compares_images for each in built)
        conditions = sorted({each.condition_classes for each in built} - {0})
        if len(conditions) > 1:
            raise DomtransError(
                f"the discriminators of 'joint-discriminator' have conditions of {conditions[0]} and {conditions[1]} classes; "
                "give all of them the number of classes of f's head, or 0"
            )
        self.condition_classes = conditions[0] if conditions else 0

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images [B, channels, size, size], and one-hot classes [B, K] if some D is conditional, to logits [B, 3, P, 1]."""
        logits = [each(images, classes) if each.condition_classes else each(images) for each in self.of]
        return side_by_side([each if each.ndim == 4 else each[:, :, None, None] for each in logits])


def side_by_side(logits: Sequence[Tensor]) -> Tensor:
    """Logits of several D's or heads, each [..., 3, h, w], as those of P patches of one D: [..., 3, P, 1].

    P is the largest number of patches times the number of D's. The patches of the others are repeated evenly.
    """
    rows = [each.flatten(-2) for each in logits]
    most = max(each.shape[-1] for each in rows)
    repeated = [each[..., torch.arange(most, device=each.device) * each.shape[-1] // most] for each in rows]
    return torch.cat(repeated, -1)[..., None]
