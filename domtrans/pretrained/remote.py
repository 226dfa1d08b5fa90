"""Runs at an address, such as ``https://host/runs/digits``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.pretrained.hub import FILES
from domtrans.storage.address import as_address, name_of_address
from domtrans.storage.data_file import RemoteFile, copies_folder, data_file, find_file
from domtrans.storage.published import Publication, read_publication
from domtrans.storage.requests import NoFileError
from domtrans.storage.run_files import EARLIER_FOLDER, MODEL_FILE, TRAINING_FILE

FOR_TRAINING = (TRAINING_FILE, f"{EARLIER_FOLDER}/")
"""Beginnings of the names of files that only resuming needs."""


def fetch(name: str, *, whole: bool = False) -> Path:
    """Download a run, or take it from the cache.

    Args:
        name: The address of a run folder, or of a model file in one.
        whole: Of a run that was published there by training, download also log, samples and examples.

    Returns:
        A folder with the files of the run, or the model file.

    Raises:
        DomtransError: If it cannot be downloaded, or is not a run.
    """
    address = as_address(name).rstrip("/")
    if address.endswith(".safetensors"):
        model = name_of_address(address)
        wanted = {*FILES} - {MODEL_FILE} | {model}
        folder = _published(address.removesuffix(f"/{model}"), lambda part: part in wanted)
        return folder / model if folder and (folder / model).is_file() else data_file(address).fetch()
    folder = _published(address, lambda part: part in FILES or (whole and not part.startswith(FOR_TRAINING)))
    if folder:
        return folder
    files = [file for file in map(find_file, (f"{address}/{part}" for part in FILES)) if isinstance(file, RemoteFile)]
    if not any(file.name == MODEL_FILE for file in files):
        raise DomtransError(f"there is no run at {address}: no {MODEL_FILE} that may be read; check the address")
    folder = copies_folder([[file.address, file.size, file.version] for file in files])
    for file in files:
        replace(file, folder=folder).fetch()
    return folder


def _published(address: str, is_wanted: Callable[[str], bool]) -> Path | None:
    """A folder with those files of a published run that are wanted; None if nothing is published there."""
    for _ in range(2):
        try:
            return _copy(read_publication(address), is_wanted)
        except NoFileError:  # it may not be read; or the next publications have replaced it meanwhile
            continue
    return None


def _copy(publication: Publication, is_wanted: Callable[[str], bool]) -> Path | None:
    if not publication.files:
        return None
    folder = copies_folder([publication.address, publication.checksum]) / name_of_address(publication.address)
    publication.download([name for name in publication.files if is_wanted(name)], folder)
    return folder
