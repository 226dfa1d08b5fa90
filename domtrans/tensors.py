"""Files of named tensors: safetensors, never pickle; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from domtrans.errors import DomtransError

BESIDE = ".being-written-"
"""How the names of files begin that are not whole yet; a killed process may leave one behind."""

CHECKSUM = "checksum"
"""Key of the metadata under which a file of ours notes its checksum; foreign files have none."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically. Raises DomtransError if the folder or disk does not allow it."""
    # Copies: two names may stand for one tensor, which safetensors would refuse.
    plain = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    write_bytes(path, save(plain, {**metadata, CHECKSUM: checksum(plain, metadata)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata of a safetensors file.

    Raises DomtransError for a file that is missing, cut short, changed since it was written, or no safetensors file at all.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
            metadata = dict(file.metadata() or {})
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DomtransError(
            f"{path} is not a whole safetensors file ({_short(error)}); it was cut short or is something else"
        ) from None
    noted = metadata.pop(CHECKSUM, None)
    if noted is not None and noted != checksum(tensors, metadata):
        raise DomtransError(f"{path} is damaged: its checksum does not fit its content; use an earlier save")
    return tensors, metadata


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights from a ``.safetensors`` file, or a foreign ``.pth``/``.pt`` state dict, of which only tensors are read.

    Raises DomtransError for anything else, above all for a pickle that would run code.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if path.suffix not in (".pth", ".pt"):
        raise DomtransError(f"weights are read from .safetensors, .pth or .pt files, not from {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    except Exception as error:  # noqa: BLE001 - torch raises whatever a damaged archive provokes
        raise DomtransError(f"{path} is not a plain file of weights ({_short(error)})") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DomtransError(f"{path} does not hold a state dict (names and tensors)")
    return state


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """What ``write_tensors`` notes in a file and ``read_tensors`` checks: a flipped bit anywhere changes it."""
    about = json.dumps(dict(metadata), sort_keys=True)
    return hashlib.sha256((fingerprint(tensors) + about).encode()).hexdigest()


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values, 16 hex digits: equal tensors, equal fingerprint."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else str(tensor.item()).encode()
        )
    return digest.hexdigest()[:16]


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step: what was there stays until all of the new is on disk."""
    try:
        handle, beside = tempfile.mkstemp(prefix=BESIDE, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).chmod(0o644)
            Path(beside).replace(path)
            _sync_folder(path.parent)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DomtransError(
            f"{path} cannot be written: {error.strerror or error}; what was there before is untouched"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
