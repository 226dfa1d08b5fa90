"""The networks of a run as torch modules, for programs that need nothing else of domtrans.

The modules are on the CPU, in eval mode, in float32. ``path`` is whatever ``domtrans.load`` takes: a run folder, a model file,
``models:NAME`` or ``hf://OWNER/NAME``. The file is checked as there, and nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from domtrans.interfaces import Generator
from domtrans.model.build import build_transfer
from domtrans.model.transfer import FrozenEncoder, Transfer
from domtrans.recipe.schema import make_recipe
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.load import load


def load_transfer(path: str | Path, *, registry: Registry | None = None) -> Transfer:
    """G of a run.

    Args:
        path: The run.
        registry: The parts; by default those of the installed plugins.

    Returns:
        A module from images [B, 1 or 3, S, S] to images [B, C, S, S], both in [-1, 1], with S the recipe's ``image_size``.

    Raises:
        DomtransError: If there is no run, it is damaged, or it needs a plugin that is missing.
    """
    return load(path, device="cpu", registry=registry).model


def load_encoder(path: str | Path, *, registry: Registry | None = None) -> FrozenEncoder:
    """f of a run; arguments and errors are those of ``load_transfer``.

    Returns:
        A module from images [B, 1 or 3, S, S] in [-1, 1] to standardised features [B, F], or maps [B, C, h, w]. Its
        weights have no gradient; ``requires_grad_(True)`` gives them one.
    """
    return load_transfer(path, registry=registry).encoder


def load_generator(path: str | Path, *, registry: Registry | None = None) -> Generator:
    """g of a run; arguments and errors are those of ``load_transfer``.

    Returns:
        A module from standardised features of ``load_encoder`` to images [B, C, S, S] in [-1, 1].
    """
    return load_transfer(path, registry=registry).generator


def build(recipe: Mapping[str, Any], classes: Sequence[str], channels: int, *, registry: Registry | None = None) -> Transfer:
    """The networks that ``config.json`` of a packed run describes, untrained.

    The entries of the file are the arguments, as ``PyTorchModelHubMixin`` of huggingface_hub expects it
    (examples/hub_mixin.py).

    Args:
        recipe: The resolved recipe, as plain values.
        classes: Names of the source classes.
        channels: Channels of the target images.
        registry: The parts; by default those of the installed plugins.

    Returns:
        A module whose state dict has the names of ``model.safetensors``.

    Raises:
        DomtransError: For a recipe that is not valid.
    """
    registry = registry or load_plugins().registry
    return build_transfer(make_recipe(dict(recipe), "the recipe").resolve(registry), registry, len(classes), channels)


__all__ = ["build", "load_encoder", "load_generator", "load_transfer"]
