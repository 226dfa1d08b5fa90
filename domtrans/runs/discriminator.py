"""The weights of D that a run folder holds. A model file has none, because only training needs D."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from domtrans.runs.folder import FORMAT, RunFolder, check_format
from domtrans.storage.run_files import DISCRIMINATOR_FILE
from domtrans.storage.tensors import read_tensors, write_tensors

PREFIX = "discriminator."


def read_discriminator(folder: Path) -> dict[str, Tensor] | None:
    """The weights of D by name, from the training state of a run or from a packed run; None if the folder has neither.

    Raises:
        DomtransError: If the file is damaged.
    """
    packed, training = folder / DISCRIMINATOR_FILE, RunFolder(folder).training_file
    if packed.is_file():
        weights, about = read_tensors(packed, require_checksum=True)
        check_format(about, packed)
        return weights
    if not training.is_file():
        return None
    state, about = read_tensors(training, require_checksum=True)
    check_format(about, training)
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}


def write_discriminator(folder: Path, weights: dict[str, Tensor]) -> None:
    """Write D into a packed run."""
    write_tensors(folder / DISCRIMINATOR_FILE, weights, {"format": FORMAT})
