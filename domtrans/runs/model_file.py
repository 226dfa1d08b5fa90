"""Read ``model.safetensors`` files, which may come from anyone.

The recipe of a file is checked first. The networks that it names are then built without memory (on torch's meta device) and
compared, by name and shape, with the tensors of the file. Only then are weights read or allocated, no more than the file has.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from domtrans.data.planes import MAX_CHANNELS
from domtrans.errors import DomtransError, reason_of
from domtrans.model.build import build_transfer
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe, make_recipe
from domtrans.registry.registry import KINDS, Registry
from domtrans.runs.folder import check_format
from domtrans.storage.tensors import TensorFile, first_difference, not_finite, open_tensors

MISMATCH = "does not hold the model that its recipe describes"
TOO_LARGE = "the networks would be far larger than the weights in the file"
MAX_CHECKSUM_BYTES = 2**30
"""Largest file that is read completely after its content was found to be wrong, to find out whether it is damaged."""

SIZE_FACTOR, TENSOR_FACTOR = 16, 64
"""How many times as many numbers and tensors as in the file a network may register while it is built: a constructor may make
layers and discard them."""


@dataclass(frozen=True)
class About:
    """The metadata of a model file besides its recipe.

    Attributes:
        classes: Number of labelled source classes.
        channels: Channels of the target images.
        plugins: Where each part comes from: ``{"kind name": "distribution"}``.
        raw: All of it, unchecked.
    """

    classes: int
    channels: int
    plugins: Mapping[str, Any]
    raw: Mapping[str, Any]


def read_model(path: Path, registry: Registry) -> tuple[Recipe, Transfer, Mapping[str, Any]]:
    """Read a model file.

    Args:
        path: The file.
        registry: The parts to build its networks from.

    Returns:
        The resolved recipe, the transfer on the CPU, and the metadata about its origin.

    Raises:
        DomtransError: If the file is damaged, needs a part that is not installed, or holds other networks than its recipe
            describes.
    """
    with open_tensors(path) as file:
        try:
            check_format(file.metadata, path)
            if file.stored_checksum is None:
                raise DomtransError(f"{path} is damaged: its checksum is missing; use an earlier checkpoint")
            recipe, about = _read_metadata(file, registry)
            _check_shapes(file, recipe, registry, about)
        except DomtransError:
            if path.stat().st_size <= MAX_CHECKSUM_BYTES:
                file.read()  # raises if the file is damaged, which explains all other faults
            raise
        weights = file.read()
    return recipe, _build(path, weights, recipe, registry, about), about.raw


def read_about(path: Path) -> Mapping[str, Any]:
    """The metadata of a model file about its origin. Raises DomtransError if it is not a model file."""
    with open_tensors(path) as file:
        check_format(file.metadata, path)
        return _about(_json(file, "about"), path).raw


def _read_metadata(file: TensorFile, registry: Registry) -> tuple[Recipe, About]:
    about = _about(_json(file, "about"), file.path)
    data = _json(file, "recipe")
    if not isinstance(data, dict):
        raise DomtransError(f"{file.path}: its recipe must be a table, not {type(data).__name__}")
    try:
        return make_recipe(data, str(file.path)).resolve(registry), about
    except DomtransError:
        _check_installed(registry, about, file.path)
        raise


def _json(file: TensorFile, key: str) -> Any:
    try:
        return json.loads(file.metadata[key])
    except KeyError:
        raise DomtransError(f"{file.path} {MISMATCH}: its metadata has no '{key}'") from None
    except (ValueError, RecursionError) as error:
        raise DomtransError(f"{file.path} {MISMATCH}: '{key}' in its metadata is not JSON: {error}") from None


def _about(data: Any, path: Path) -> About:
    if not isinstance(data, dict):
        raise DomtransError(f"{path} {MISMATCH}: 'about' in its metadata must be a table, not {type(data).__name__}")
    classes, channels, plugins = data.get("classes"), data.get("channels"), data.get("plugins")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DomtransError(f"{path} {MISMATCH}: its classes are not a list of names")
    if isinstance(channels, bool) or not isinstance(channels, int) or not 1 <= channels <= MAX_CHANNELS:
        raise DomtransError(f"{path} {MISMATCH}: its images have 1 to {MAX_CHANNELS} channels, not {str(channels)[:40]}")
    return About(len(classes), int(channels), plugins if isinstance(plugins, dict) else {}, data)


def _check_installed(registry: Registry, about: About, path: Path) -> None:
    """Raise DomtransError with the plugin of the first part that is not installed, if the file names it."""
    for part, owner in about.plugins.items():
        kind, _, name = part.partition(" ")
        if kind in KINDS and name and name not in registry.names(kind) and isinstance(owner, str) and owner:
            raise DomtransError(f"there is no {kind} '{name[:200]}', which {path} needs: install its plugin, {owner[:200]}")


def _check_shapes(file: TensorFile, recipe: Recipe, registry: Registry, about: About) -> None:
    """Refuse the file unless its networks, built on the meta device, have exactly the tensors that it holds."""
    numbers = sum(torch.Size(shape).numel() for shape in file.shapes.values())
    try:
        with torch.device("meta"), _no_larger_than(numbers, len(file.shapes)):
            transfer = build_transfer(recipe, registry, about.classes, about.channels)
        shapes = _shapes(transfer.state_dict())
    except DomtransError as error:
        raise DomtransError(f"{file.path} {MISMATCH}: {error}") from None
    except _TooLargeError:
        raise DomtransError(f"{file.path} {MISMATCH}: {TOO_LARGE}") from None
    except Exception:  # noqa: BLE001 - a constructor may read its weights, which fails on the meta device; _build compares them
        return
    mismatch = first_difference(file.shapes, shapes)
    if mismatch:
        raise DomtransError(f"{file.path} {MISMATCH}: {mismatch}")


def _build(path: Path, weights: dict[str, Tensor], recipe: Recipe, registry: Registry, about: About) -> Transfer:
    try:
        with _no_larger_than(sum(tensor.numel() for tensor in weights.values()), len(weights)):
            model = build_transfer(recipe, registry, about.classes, about.channels)
        wanted = model.state_dict()
        mismatch = first_difference(_shapes(weights), _shapes(wanted)) or _other_type(weights, wanted)
        if not mismatch:
            model.load_state_dict(weights)
    except DomtransError as error:
        raise DomtransError(f"{path} {MISMATCH}: {error}") from None
    except _TooLargeError:
        raise DomtransError(f"{path} {MISMATCH}: {TOO_LARGE}") from None
    except Exception as error:  # valid options may still make a constructor fail in any way
        raise DomtransError(f"{path} {MISMATCH}: {reason_of(error)}") from error
    if mismatch:
        raise DomtransError(f"{path} {MISMATCH}: {mismatch}")
    fixed = {name for name, _ in model.named_buffers()}  # a mask may be infinite
    bad = not_finite(weights, may_be_infinite=fixed)
    if bad:
        raise DomtransError(f"{path} holds numbers that are not finite, in {bad[:200]}; use an earlier checkpoint")
    return model


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _other_type(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """The first tensor of another type, in words. Floats may have another width, because loading converts them."""
    for name, tensor in weights.items():
        stored, expected = tensor.dtype, wanted[name].dtype
        if stored != expected and not (stored.is_floating_point and expected.is_floating_point):
            return f"{name[:200]} is of type {stored} instead of {expected}"
    return None


class _TooLargeError(Exception):
    """A network is larger than the file that it is built for."""


@contextmanager
def _no_larger_than(numbers: int, tensors: int) -> Iterator[None]:
    """A block that raises _TooLargeError if networks built in this thread register many more numbers or tensors than these."""
    left = {"numbers": SIZE_FACTOR * numbers + 2**20, "registrations": TENSOR_FACTOR * tensors + 10_000}
    thread = threading.get_ident()

    def count(_: nn.Module, name: str, registered: Tensor | nn.Module | None) -> None:
        if threading.get_ident() != thread:
            return
        left["registrations"] -= 1
        left["numbers"] -= registered.numel() if isinstance(registered, Tensor) else 0
        if min(left.values()) < 0:
            raise _TooLargeError(name)

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
