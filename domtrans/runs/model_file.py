"""Read ``model.safetensors`` with suspicion: what it says first, then whether that can be true, and its weights last.

A model file may come from anyone. Its recipe is checked like any other; the networks that it asks for are laid out
without memory (on torch's meta device) and compared, name by name and shape by shape, with what the file holds; only
then is anything read or allocated, which is no more than the file's own size.
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

from domtrans.errors import DomtransError
from domtrans.model.build import build_transfer
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe, make_recipe
from domtrans.registry.registry import KINDS, Registry
from domtrans.runs.folder import check_format
from domtrans.storage.tensors import TensorFile, first_difference, not_finite, open_tensors

MISFIT = "does not hold the model that its recipe describes"
TOO_LARGE = "the networks would be far larger than the weights in the file"
CHECK_DAMAGE = 2**30
"""Bytes up to which a file that says something wrong is read whole, to tell damage from a lie."""


@dataclass(frozen=True)
class About:
    """What a model file says about itself besides its recipe."""

    classes: int
    channels: int
    plugins: Mapping[str, Any]
    said: Mapping[str, Any]
    """All of it, as it was written by whoever wrote the file."""


def read_model(path: Path, registry: Registry) -> tuple[Recipe, Transfer, Mapping[str, Any]]:
    """The recipe and the transfer of a model file, on the CPU, and what it says of where it comes from.

    Raises DomtransError if it is damaged, needs a part that is not installed, or holds other networks than it says.
    """
    with open_tensors(path) as file:
        try:
            check_format(file.metadata, path)
            if file.stored_checksum is None:
                raise DomtransError(f"{path} is damaged: it has lost its checksum; use an earlier save")
            recipe, about = _described(file, registry)
            _lay_out(file, recipe, registry, about)
        except DomtransError:
            if path.stat().st_size <= CHECK_DAMAGE:
                file.read()  # says so if the file is damaged, which explains all the rest
            raise
        weights = file.read()
    return recipe, _built(path, weights, recipe, registry, about), about.said


def _described(file: TensorFile, registry: Registry) -> tuple[Recipe, About]:
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
        raise DomtransError(f"{file.path} {MISFIT}: its metadata has no '{key}'") from None
    except (ValueError, RecursionError) as error:
        raise DomtransError(f"{file.path} {MISFIT}: '{key}' in its metadata is not JSON: {error}") from None


def _about(data: Any, path: Path) -> About:
    if not isinstance(data, dict):
        raise DomtransError(f"{path} {MISFIT}: 'about' in its metadata must be a table, not {type(data).__name__}")
    classes, channels, plugins = data.get("classes"), data.get("channels"), data.get("plugins")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DomtransError(f"{path} {MISFIT}: its classes are not a list of names")
    if isinstance(channels, bool) or channels not in (1, 3):
        raise DomtransError(f"{path} {MISFIT}: its images have 1 or 3 channels, not {str(channels)[:40]}")
    return About(len(classes), int(channels), plugins if isinstance(plugins, dict) else {}, data)


def _check_installed(registry: Registry, about: About, path: Path) -> None:
    """Say which plugin brings the first part that is not there, nested ones too, if the file noted it."""
    for part, owner in about.plugins.items():
        kind, _, name = part.partition(" ")
        if kind in KINDS and name and name not in registry.names(kind) and isinstance(owner, str) and owner:
            raise DomtransError(
                f"there is no {kind} '{name[:200]}', which {path} needs: install the plugin that it came from, {owner[:200]}"
            )


def _lay_out(file: TensorFile, recipe: Recipe, registry: Registry, about: About) -> None:
    """Refuse the file unless its networks, laid out without memory, have just the tensors that it holds."""
    numbers = sum(torch.Size(shape).numel() for shape in file.shapes.values())
    try:
        with torch.device("meta"), _no_larger_than(numbers, len(file.shapes)):
            plan = build_transfer(recipe, registry, about.classes, about.channels)
        shapes = {name: tuple(tensor.shape) for name, tensor in plan.state_dict().items()}
    except DomtransError as error:
        raise DomtransError(f"{file.path} {MISFIT}: {error}") from None
    except _TooLargeError:
        raise DomtransError(f"{file.path} {MISFIT}: {TOO_LARGE}") from None
    except Exception:  # noqa: BLE001 - a stranger's constructor may look at its weights; it is built, and compared, in full
        return
    wrong = first_difference(file.shapes, shapes)
    if wrong:
        raise DomtransError(f"{file.path} {MISFIT}: {wrong}")


def _built(path: Path, weights: dict[str, Tensor], recipe: Recipe, registry: Registry, about: About) -> Transfer:
    try:
        with _no_larger_than(sum(tensor.numel() for tensor in weights.values()), len(weights)):
            model = build_transfer(recipe, registry, about.classes, about.channels)
        wanted = model.state_dict()
        wrong = first_difference(_shapes(weights), _shapes(wanted)) or _other_type(weights, wanted)
        if not wrong:
            model.load_state_dict(weights)
    except DomtransError as error:
        raise DomtransError(f"{path} {MISFIT}: {error}") from None
    except _TooLargeError:
        raise DomtransError(f"{path} {MISFIT}: {TOO_LARGE}") from None
    except Exception as error:  # options that pass their checks may still break a constructor in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DomtransError(f"{path} {MISFIT}: {reason}") from error
    if wrong:
        raise DomtransError(f"{path} {MISFIT}: {wrong}")
    fixed = {name for name, _ in model.named_buffers()}  # a mask may well be infinite
    bad = not_finite(weights, may_be_infinite=fixed)
    if bad:
        raise DomtransError(f"{path} holds numbers that are not finite, in {bad[:200]}; use an earlier save")
    return model


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _other_type(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Floats are copied into floats of another width; anything else must be of the same type."""
    for name, tensor in weights.items():
        here, there = tensor.dtype, wanted[name].dtype
        if here != there and not (here.is_floating_point and there.is_floating_point):
            return f"{name[:200]} is of type {here} instead of {there}"
    return None


class _TooLargeError(Exception):
    """A network under construction has outgrown the file that it is built for."""


@contextmanager
def _no_larger_than(numbers: int, tensors: int) -> Iterator[None]:
    """Stop the building of networks, in this thread, that hold many times the given numbers or tensors.

    Many times, for a constructor may make layers and throw them away.
    """
    left = {"numbers": 16 * numbers + 2**20, "things": 64 * tensors + 10_000}
    thread = threading.get_ident()

    def count(_: nn.Module, name: str, thing: Tensor | nn.Module | None) -> None:
        if threading.get_ident() != thread:
            return
        left["things"] -= 1
        left["numbers"] -= thing.numel() if isinstance(thing, Tensor) else 0
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
