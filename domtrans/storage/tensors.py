"""Files of named tensors: safetensors, never pickle; written whole or not at all."""

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

from domtrans.errors import DomtransError
from domtrans.storage.atomic import write_bytes

CHECKSUM = "checksum"
"""Key of the metadata under which a file of ours notes its checksum; foreign files have none."""

MAX_HEADER = 16 * 2**20
"""Bytes of names, shapes and metadata that a file may begin with; a run's are some thousands."""

Shapes = Mapping[str, tuple[int, ...]]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically. Raises DomtransError if the folder or disk does not allow it."""
    # Copies: two names may stand for one tensor, which safetensors would refuse.
    plain = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    write_bytes(path, save(plain, {**metadata, CHECKSUM: checksum(plain, metadata)}))


def read_tensors(path: Path, *, own: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata of a safetensors file. ``own``: only a file with our checksum will do.

    Raises DomtransError for a file that is missing, cut short, changed since it was written, or no safetensors file at all.
    """
    with open_tensors(path, own=own) as file:
        return file.read(), file.metadata


@contextmanager
def open_tensors(path: Path, *, own: bool = False) -> Iterator[TensorFile]:
    """A safetensors file of which only the header has been read. Raises DomtransError as ``read_tensors`` does."""
    with _refusing(path):
        _check_header(path)
        file = safe_open(path, framework="pt")
    with file:
        with _refusing(path):
            found = TensorFile(path, file)
        if own and found.noted is None:
            raise DomtransError(
                f"{path} has no checksum, so it was changed or was not written by domtrans; use an earlier save"
            )
        yield found


class TensorFile:
    """An open safetensors file: what it says it holds, and a way to read it.

    ``metadata``: without the checksum. ``shapes``: of every tensor, by name.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        self.metadata: dict[str, str] = dict(file.metadata() or {})
        self.noted = self.metadata.pop(CHECKSUM, None)
        self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict

    def read(self) -> dict[str, Tensor]:
        """Every tensor, on the CPU; DomtransError if they or the metadata are not what was written."""
        with _refusing(self.path):
            tensors = {name: self._file.get_tensor(name).clone() for name in self.shapes}
            sound = self.noted is None or self.noted == checksum(tensors, self.metadata)
        if not sound:
            raise DomtransError(f"{self.path} is damaged: its checksum does not fit its content; use an earlier save")
        return tensors


def difference(found: Shapes, wanted: Shapes) -> str | None:
    """The first name, in order, that is missing, not expected or of another shape; None if all fits."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found or name not in wanted:
            return f"{name[:200]} is {'missing from' if name in wanted else 'not expected in'} the file"
        if tuple(found[name]) != tuple(wanted[name]):
            return f"{name[:200]} has the shape {list(found[name])[:8]} instead of {list(wanted[name])}"
    return None


def not_finite(tensors: Mapping[str, Tensor], may_be_infinite: Iterable[str] = ()) -> str | None:
    """The first name of a tensor that holds NaN, or infinity unless it may; None if all are numbers."""
    allowed = frozenset(may_be_infinite)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            wide = tensor if tensor.element_size() > 1 else tensor.float()  # 8-bit floats have no comparisons of their own
            if bool(torch.isnan(wide).any()) or (name not in allowed and bool(torch.isinf(wide).any())):
                return name
    return None


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


def _check_header(path: Path) -> None:
    """Refuse what is no regular file (a pipe would be waited for) or has a header that no file of weights needs."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header would be {length:,} bytes long")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever the libraries raise for a file that is not there or not whole, as one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise DomtransError(f"there is no file {path}") from None
    # A header may ask for types and shapes that torch cannot hold, and then any of these comes.
    except (SafetensorError, OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DomtransError(
            f"{path} is not a whole safetensors file ({reason}); it was cut short or is something else"
        ) from None
