"""Read weights that others trained: safetensors files, and ``.pth`` files, from which only tensors are read."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.errors import DomtransError, reason_of
from domtrans.storage.run_files import MODEL_FILE
from domtrans.storage.tensors import first_difference, read_tensors

F_PREFIX, G_PREFIX = "encoder.encoder.", "generator."
"""Prefixes of f's and g's weights in a model file: ``Transfer.encoder`` is a ``FrozenEncoder``, whose ``encoder`` is f."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        path: A ``.safetensors`` file, or a ``.pth`` or ``.pt`` file, from which only tensors are read.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        DomtransError: For anything else: a pickle that would run code; or a file that takes more memory than its size,
            through compression, overlapping entries, or tensors that are larger than their storage.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if path.suffix not in (".pth", ".pt"):
        raise DomtransError(f"weights are read from .safetensors, .pth or .pt files, not from {path}")
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the version that wrote an old file
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except Exception as error:  # noqa: BLE001 - torch raises whatever a damaged archive provokes
        raise DomtransError(f"{path} is not a plain file of weights ({_reason(error)})") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(_is_plain(name, value) for name, value in state.items()):
        raise DomtransError(f"{path} does not hold a state dict (names and tensors)")
    _check_sizes(state, path)
    return dict(state)


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Load the weights of f.

    Args:
        encoder: f.
        path: A run folder or a model file, whose f is loaded, or any file that ``read_weights`` reads.

    Raises:
        DomtransError: Unless names and shapes are exactly those of the encoder; it names the first difference.
    """
    weights = read_weights(path / MODEL_FILE if path.is_dir() else path)
    of_f = {name.removeprefix(F_PREFIX): tensor for name, tensor in weights.items() if name.startswith(F_PREFIX)}
    load_exactly(encoder, of_f or weights, path, f"the encoder {type(encoder).__name__}")


def load_generator(generator: nn.Module, path: Path) -> None:
    """Load the weights of g.

    Args:
        generator: g.
        path: A model file.

    Raises:
        DomtransError: Unless names and shapes are exactly those of the generator; it names the first difference.
    """
    weights = read_weights(path)
    of_g = {name.removeprefix(G_PREFIX): tensor for name, tensor in weights.items() if name.startswith(G_PREFIX)}
    if not of_g:
        raise DomtransError(f"{path} holds no weights of a generator; it is not a model file of domtrans")
    load_exactly(generator, of_g, path, f"the generator {type(generator).__name__}")


def load_exactly(network: nn.Module, weights: Mapping[str, Tensor], path: Path, description: str) -> None:
    """Load weights that have exactly the names and shapes of the network's own.

    Args:
        network: The module to load into.
        weights: Tensors by name.
        path: The file that they were read from, for the message.
        description: What the network is, for the message.

    Raises:
        DomtransError: If a name is missing or unexpected, or a shape differs, with the first such name; or for complex
            numbers where the network has real ones.
    """
    wanted = network.state_dict()
    problem = first_difference(*({name: tuple(tensor.shape) for name, tensor in group.items()} for group in (weights, wanted)))
    if problem is None and any(tensor.is_complex() != wanted[name].is_complex() for name, tensor in weights.items()):
        problem = "it holds complex numbers"
    if problem:
        raise DomtransError(f"{path} does not fit {description}: {problem}")
    network.load_state_dict(dict(weights))


def _reason(error: Exception) -> str:
    """Why torch refused a file. Its own message about a pickle advises to load it in the way that runs its code."""
    if type(error).__name__ != "UnpicklingError":
        return reason_of(error)
    function = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks for {function[1]}, which could run code" if function else "its pickle holds more than tensors"


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than its size. Torch does not compress, so it is meant to fill the memory."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")  # reading a pipe would wait forever
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it would unpack to {unpacked:,} bytes, more than its size")


def _is_plain(name: Any, value: Any) -> bool:
    """Whether it is a name with a dense tensor: not sparse, quantised, of a subclass, or on the meta device."""
    dense = type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided
    return isinstance(name, str) and dense and value.device.type == "cpu" and not value.is_quantized


def _check_sizes(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are larger than their storage: with a stride of 0, one number is a tensor of any size."""
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DomtransError(f"{path} is not a plain file of weights ({name[:200]} is larger than its storage)")
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    if sum(stored.values()) > path.stat().st_size:
        size = sum(stored.values())
        raise DomtransError(f"{path} is not a plain file of weights (its tensors have {size:,} bytes, more than the file)")
