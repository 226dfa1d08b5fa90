"""Weights in the files that TensorFlow.js reads: a manifest in JSON, and the numbers, one byte each, beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from domtrans import DomtransError


def read_manifest(path: Path) -> dict[str, Tensor]:
    """Every tensor of a manifest, float32; what was stored in one byte a number is put back to its scale.

    Raises DomtransError for a file that is missing, damaged, of another type, or not beside the manifest.
    """
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        return {name: tensor for group in groups for name, tensor in _group(group, path.parent).items()}
    except FileNotFoundError as fault:
        raise DomtransError(f"there is no file {fault.filename}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
        reason = " ".join(str(fault).split())[:160]
        raise DomtransError(f"{path} is not a whole manifest of weights as TensorFlow.js has them ({reason})") from None


def _group(group: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    names = group["paths"]
    if any(Path(name).name != name for name in names):
        raise ValueError("it names files outside its own folder")
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
        raise ValueError(f"it describes {start:,} bytes, but there are {len(content):,}")
    return tensors
