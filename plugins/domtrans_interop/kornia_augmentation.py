"""The augmentations of kornia, by the names of their classes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from domtrans import DomtransError, did_you_mean, reason_of, require_extra, seeded

SEEDS = 2**31


class KorniaAugmentation:
    """An augmentation of kornia, such as RandomAffine or ColorJiggle.

    Every image is transformed differently. kornia draws from torch's global generators, so they are seeded from ``rng`` for
    every batch and restored afterwards. On a GPU this waits once per batch. Images are mapped to [0, 1] for kornia and back,
    so a border that it fills with zeros is black. Needs the extra "kornia".

    Args:
        transform: Name of a class in ``kornia.augmentation``.
        arguments: Arguments of its constructor, by name.
    """

    def __init__(self, *, transform: str, arguments: dict[str, Any] | None = None) -> None:
        self.name = transform
        self.transform = build(transform, arguments or {})

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Transform images [B, C, H, W] in [-1, 1]; the result has the same shape and range."""
        seed = int(torch.randint(SEEDS, (1,), generator=rng, device=rng.device))
        with seeded(seed), torch.autocast(images.device.type, enabled=False):
            unit = self.transform.to(images.device)((images.float() + 1) / 2)
        if unit.shape != images.shape:
            raise DomtransError(
                f"kornia's {self.name} turns images of the shape {list(images.shape[1:])} into {list(unit.shape[1:])}; an "
                "augmentation must keep the shape, so choose its arguments accordingly"
            )
        return (unit.clamp(0, 1) * 2 - 1).to(images.dtype)


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """The augmentation of kornia with that name.

    Raises:
        DomtransError: If there is none, its arguments are wrong, or the extra "kornia" is not installed.
    """
    module = require_extra("kornia.augmentation", "kornia", "an augmentation of kornia")
    base = module.AugmentationBase2D if hasattr(module, "AugmentationBase2D") else nn.Module
    known = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, base)]
    if name not in known:
        hint = did_you_mean(name, known, "augmentations")
        raise DomtransError(f"kornia.augmentation has no augmentation of images '{name}'{hint}")
    try:
        transform: nn.Module = getattr(module, name)(**arguments)
    except Exception as error:  # noqa: BLE001 - a constructor raises what it likes
        reason = reason_of(error)
        raise DomtransError(f"kornia's {name} cannot be built from these arguments: {reason}") from None
    return transform
