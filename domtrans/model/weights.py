"""Weights of networks from elsewhere: safetensors, or a foreign ``.pth`` of which nothing but tensors is read."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from domtrans.errors import DomtransError
from domtrans.storage.tensors import first_difference, read_tensors

F_IN_MODEL = "encoder.encoder."
"""How the names of f's own weights begin in a model file: those of ``Transfer.encoder``, a ``FrozenEncoder``."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights from a ``.safetensors`` file, or a foreign ``.pth``/``.pt`` state dict, of which only tensors are read.

    Raises DomtransError for anything else, above all for a pickle that would run code, and for a file that would grow in
    memory: compressed or overlapping entries, or tensors larger than what is stored of them.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if path.suffix not in (".pth", ".pt"):
        raise DomtransError(f"weights are read from .safetensors, .pth or .pt files, not from {path}")
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on what an old file was written with
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except Exception as error:  # noqa: BLE001 - torch raises whatever a damaged archive provokes
        raise DomtransError(f"{path} is not a plain file of weights ({' '.join(str(error).split())[:160]})") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(_is_plain(name, value) for name, value in state.items()):
        raise DomtransError(f"{path} does not hold a state dict (names and tensors)")
    _check_sizes(state, path)
    return dict(state)


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Load f's weights: those of the f of a run, its folder or its model file, or any other file that ``read_weights`` reads.

    Raises DomtransError, naming the first difference, unless names and shapes fit exactly.
    """
    weights = read_weights(path / "model.safetensors" if path.is_dir() else path)
    of_f = {name.removeprefix(F_IN_MODEL): tensor for name, tensor in weights.items() if name.startswith(F_IN_MODEL)}
    load_exactly(encoder, of_f or weights, path, f"the encoder {type(encoder).__name__}")


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


def _check_archive(path: Path) -> None:
    """Torch stores tensors as they are; an archive that unpacks to more than its own size was made to fill the memory."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # a pipe would be waited for
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it would unpack to {unpacked:,} bytes, more than it has")


def _is_plain(name: Any, value: Any) -> bool:
    """A name and a dense tensor with values: not sparse, quantised, of a subclass, or a shape alone."""
    dense = type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided
    return isinstance(name, str) and dense and value.device.type == "cpu" and not value.is_quantized


def _check_sizes(state: Mapping[str, Tensor], path: Path) -> None:
    # A stride of 0 makes one stored number a tensor of any size; whoever copies it later would allocate it all.
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DomtransError(f"{path} is not a plain file of weights ({name[:200]} is larger than what is stored of it)")
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    if sum(stored.values()) > path.stat().st_size:
        raise DomtransError(f"{path} is not a plain file of weights (it names {sum(stored.values()):,} bytes and has fewer)")
