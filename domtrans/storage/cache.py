"""Things worth computing once: fitted encoders, evaluators, rendered images. Kept by what they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from domtrans.errors import DomtransError
from domtrans.storage.paths import cache_folder
from domtrans.storage.tensors import read_tensors, write_tensors


class Cache:
    """Tensors in files named after a hash of what they depend on. Deleting the folder loses time, nothing else."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Where the entry for ``key`` (plain values that JSON can hold) is kept."""
        text = json.dumps(key, sort_keys=True)
        return self.folder / kind / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def tensors(self, kind: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors for ``key``: from the cache, or made now and kept. A damaged entry is made again."""
        path = self.path(kind, key)
        with suppress(DomtransError, OSError):  # damaged, or in a folder that is not ours to look into
            if path.is_file():
                return read_tensors(path, own=True)[0]
        return self._keep(path, key, make())

    def fitted(self, module: nn.Module, kind: str, key: Mapping[str, Any], fit: Callable[[], None]) -> bool:
        """Load the module's weights from the cache, or call ``fit`` and keep them. True if they were there."""
        fresh = False

        def make() -> dict[str, Tensor]:
            nonlocal fresh
            fit()
            fresh = True
            return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}

        tensors = self.tensors(kind, key, make)
        try:
            module.load_state_dict(tensors)
        except RuntimeError:  # written by another version of the module under the same key
            module.load_state_dict(self._keep(self.path(kind, key), key, make()))
        return not fresh

    def _keep(self, path: Path, key: Mapping[str, Any], made: dict[str, Tensor]) -> dict[str, Tensor]:
        with suppress(DomtransError, OSError):  # a full disk or a read-only home costs time, never the run
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, made, {"key": json.dumps(key, sort_keys=True)})
        return made
