"""The cache: results that take long to compute, such as trained encoders, evaluators and rendered images."""

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
    """Tensors in files that are named after a hash of everything they depend on. Deleting the folder only costs time.

    Args:
        folder: Where the files are; by default ``$DOMTRANS_CACHE`` or the user's cache folder for domtrans.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Return the file of an entry.

        Args:
            kind: Subfolder of the cache.
            key: Everything the entry depends on, as values that JSON can hold.
        """
        text = json.dumps(key, sort_keys=True)
        return self.folder / kind / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def tensors(self, kind: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the tensors of an entry from the cache, or compute and store them. A damaged entry is computed again.

        Args:
            kind: Subfolder of the cache.
            key: Everything the entry depends on, as values that JSON can hold.
            make: Computes the tensors.
        """
        path = self.path(kind, key)
        with suppress(DomtransError, OSError):  # damaged, or in a folder that this user may not read
            if path.is_file():
                return read_tensors(path, require_checksum=True)[0]
        return self._store(path, key, make())

    def fitted(self, module: nn.Module, kind: str, key: Mapping[str, Any], fit: Callable[[], None]) -> bool:
        """Load a module's weights from the cache, or train the module and store them.

        Args:
            module: The module whose weights are loaded or stored.
            kind: Subfolder of the cache.
            key: Everything the weights depend on, as values that JSON can hold.
            fit: Trains the module in place.

        Returns:
            Whether the weights were in the cache.
        """
        trained = False

        def make() -> dict[str, Tensor]:
            nonlocal trained
            fit()
            trained = True
            return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}

        tensors = self.tensors(kind, key, make)
        try:
            module.load_state_dict(tensors)
        except RuntimeError:  # another version of the module wrote it under the same key
            module.load_state_dict(self._store(self.path(kind, key), key, make()))
        return not trained

    def _store(self, path: Path, key: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        with suppress(DomtransError, OSError):  # a full disk or a read-only home costs time, never the run
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, {"key": json.dumps(key, sort_keys=True)})
        return tensors
