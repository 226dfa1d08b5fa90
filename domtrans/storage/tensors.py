"""Safetensors files with a checksum, written atomically. Pickle is never used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from domtrans.errors import DomtransError, reason_of
from domtrans.storage.atomic import write_bytes

CHECKSUM_KEY = "checksum"
"""Metadata key of the checksum in files that domtrans writes."""

MAX_HEADER_BYTES = 16 * 2**20
"""Limit for the names, shapes and metadata at the beginning of a file. A run's take some thousand bytes."""

Shapes = Mapping[str, tuple[int, ...]]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically.

    Raises:
        DomtransError: If the file cannot be written.
    """
    # Copies, because safetensors refuses two names for one tensor.
    plain = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    write_bytes(path, save(plain, {**metadata, CHECKSUM_KEY: checksum(plain, metadata)}))


def read_tensors(path: Path, *, require_checksum: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors, onto the CPU, and the metadata of a safetensors file.

    Args:
        path: The file.
        require_checksum: Refuse a file without a checksum, which domtrans did not write.

    Raises:
        DomtransError: If the file is missing, truncated, changed since it was written, or not a safetensors file.
    """
    with open_tensors(path, require_checksum=require_checksum) as file:
        return file.read(), file.metadata


@contextmanager
def open_tensors(path: Path, *, require_checksum: bool = False) -> Iterator[TensorFile]:
    """Open a safetensors file and read only its header. Arguments and errors are those of ``read_tensors``."""
    with _as_domtrans_error(path):
        _check_header(path)
        opened = safe_open(path, framework="pt")
    with opened:
        with _as_domtrans_error(path):
            file = TensorFile(path, opened)
        if require_checksum and file.stored_checksum is None:
            raise DomtransError(
                f"{path} has no checksum, so it was changed or was not written by domtrans; use an earlier checkpoint"
            )
        yield file


class TensorFile:
    """An open safetensors file: its header, and a method that reads the tensors.

    ``metadata`` leaves out the checksum. ``shapes`` has the shape of every tensor by name.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        self.metadata: dict[str, str] = dict(file.metadata() or {})
        self.stored_checksum = self.metadata.pop(CHECKSUM_KEY, None)
        self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict

    def read(self) -> dict[str, Tensor]:
        """Read all tensors onto the CPU. Raises DomtransError if the checksum does not match them or the metadata."""
        with _as_domtrans_error(self.path):
            tensors = {name: self._file.get_tensor(name).clone() for name in self.shapes}
            intact = self.stored_checksum is None or self.stored_checksum == checksum(tensors, self.metadata)
        if not intact:
            raise DomtransError(f"{self.path} is damaged: its checksum does not match its content; use an earlier checkpoint")
        return tensors


def first_difference(shapes: Shapes, expected: Shapes) -> str | None:
    """Describe the first tensor, by name, that is missing, unexpected or of another shape; None if there is none."""
    for name in sorted(shapes.keys() | expected.keys()):
        if name not in shapes or name not in expected:
            return f"{name[:200]} is {'missing from' if name in expected else 'not expected in'} the file"
        if tuple(shapes[name]) != tuple(expected[name]):
            return f"{name[:200]} has the shape {list(shapes[name])[:8]} instead of {list(expected[name])}"
    return None


def not_finite(tensors: Mapping[str, Tensor], may_be_infinite: Iterable[str] = ()) -> str | None:
    """Return the name of the first tensor with NaN, or with infinity if it may not have any; None if there is none."""
    allowed = frozenset(may_be_infinite)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            wide = tensor if tensor.element_size() > 1 else tensor.float()  # 8-bit floats cannot be compared
            if bool(torch.isnan(wide).any()) or (name not in allowed and bool(torch.isinf(wide).any())):
                return name
    return None


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the checksum that ``write_tensors`` stores and ``read_tensors`` checks. Any changed bit changes it."""
    text = json.dumps(dict(metadata), sort_keys=True)
    return hashlib.sha256((fingerprint(tensors) + text).encode()).hexdigest()


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 over names, shapes, types and values, shortened to 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else str(tensor.item()).encode()
        )
    return digest.hexdigest()[:16]


def _check_header(path: Path) -> None:
    """Refuse a path that is not a regular file (opening a pipe would block) and a header that is too long for weights."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header would be {length:,} bytes long")


@contextmanager
def _as_domtrans_error(path: Path) -> Iterator[None]:
    """Turn whatever the libraries raise for a missing or damaged file into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    # A header may name types and shapes that torch cannot hold, which raises any of these.
    except (SafetensorError, OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise DomtransError(
            f"{path} is not a complete safetensors file ({reason_of(error)}); it is truncated, or another kind of file"
        ) from None
