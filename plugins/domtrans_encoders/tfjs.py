"""Weights in TensorFlow.js format: a JSON manifest, and binary files with one byte per weight."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from domtrans import DomtransError, reason_of


def read_manifest(path: Path) -> dict[str, Tensor]:
    """The tensors of a manifest by name, float32, dequantised.

    Raises:
        DomtransError: If a file is missing, damaged, of another type, or not in the manifest's folder.
    """
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        return {name: tensor for group in groups for name, tensor in _read_group(group, path.parent).items()}
    except FileNotFoundError as error:
        raise DomtransError(f"there is no file {error.filename}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = reason_of(error)
        raise DomtransError(f"{path} is not a complete TensorFlow.js weights manifest ({reason})") from None


def _read_group(group: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    names = group["paths"]
    if any(Path(name).name != name for name in names):
        raise ValueError("it names files outside its folder")
    content = b"".join((folder / name).read_bytes() for name in names)
    tensors, start = {}, 0
    for entry in group["weights"]:
        quantized = entry.get("quantization")
        stored = quantized["dtype"] if quantized else entry["dtype"]
        if entry["dtype"] != "float32" or stored not in ("uint8", "float32"):
            raise ValueError(f"{entry['name']} is stored as {stored} and not as uint8 or float32")
        shape = [int(side) for side in entry["shape"]]
        values = np.frombuffer(content, np.dtype(stored).newbyteorder("<"), math.prod(shape), start)
        start += values.nbytes
        numbers = torch.from_numpy(values.astype(np.float32)).view(shape)
        tensors[entry["name"]] = numbers * quantized["scale"] + quantized["min"] if quantized else numbers
    if start != len(content):
        raise ValueError(f"it describes {start:,} bytes, but the files have {len(content):,}")
    return tensors
