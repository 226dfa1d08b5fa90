"""Runs at an address, such as ``https://host/runs/digits``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.pretrained.hub import FILES
from domtrans.storage.address import as_address
from domtrans.storage.data_file import RemoteFile, copies_folder, data_file, find_file


def fetch(name: str) -> Path:
    """Download a run, or take it from the cache.

    Args:
        name: The address of a run folder, or of a model file in one.

    Returns:
        A folder with the files of the run, or the model file.

    Raises:
        DomtransError: If it cannot be downloaded, or is no run.
    """
    address = as_address(name).rstrip("/")
    if address.endswith(".safetensors"):
        return data_file(address).fetch()
    files = [file for file in map(find_file, (f"{address}/{part}" for part in FILES)) if isinstance(file, RemoteFile)]
    if not any(file.name == FILES[0] for file in files):
        raise DomtransError(f"there is no run at {address}: no {FILES[0]} that may be read; check the address")
    folder = copies_folder([[file.address, file.size, file.version] for file in files])
    for file in files:
        replace(file, folder=folder).fetch()
    return folder
