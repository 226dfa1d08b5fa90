"""The trained runs that come with domtrans: ``models:NAME``. Each is a folder that ``domtrans pack --fp16`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.storage.run_files import CONFIG_FILE, MODEL_FILE, RESULTS_FILE

PREFIX = "models:"
FOLDER = Path(__file__).parent / "runs"


@dataclass(frozen=True)
class PretrainedModel:
    """A trained run that comes with domtrans.

    Attributes:
        name: ``models:NAME``, which is accepted wherever a run is.
        folder: Its folder.
        description: What it transfers, in one line.
        licence: Licence of the weights, as model hubs abbreviate it.
        size: Size of its model file in bytes.
        results: Its results.json.
    """

    name: str
    folder: Path
    description: str
    licence: str
    size: int
    results: Mapping[str, Any]


def list_models() -> list[PretrainedModel]:
    """The trained runs that come with domtrans, by name. No network is built for it."""
    return [_describe(folder) for folder in _folders().values()]


def model_folder(name: str) -> Path:
    """The folder of ``models:NAME``.

    Raises:
        DomtransError: If no such model comes with domtrans.
    """
    folder = _folders().get(name.removeprefix(PREFIX))
    if folder is None:
        names = ", ".join(f"{PREFIX}{known}" for known in _folders()) or "none"
        if not name.removeprefix(PREFIX).strip():
            raise DomtransError(f"the name of a trained model is missing after {PREFIX} (there are: {names})")
        raise DomtransError(f"no trained model {name} comes with domtrans (there are: {names}); `domtrans models` lists them")
    return folder


def _folders() -> dict[str, Path]:
    return {file.parent.name: file.parent for file in sorted(FOLDER.glob(f"*/{MODEL_FILE}"))}


def _describe(folder: Path) -> PretrainedModel:
    config, results = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CONFIG_FILE, RESULTS_FILE))
    return PretrainedModel(
        name=f"{PREFIX}{folder.name}",
        folder=folder,
        description=config["recipe"]["description"],
        licence=config["license"],
        size=(folder / MODEL_FILE).stat().st_size,
        results=results,
    )
