"""A folder at an address whose files change together: readers see all files of one publication, or all of the next.

An object store replaces single files only. Each file is therefore stored under its checksum, and ``published.json`` names the
files that belong together. It is written last, in one step. The files of the publication before stay until the next one, for
those who are still reading them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from domtrans.errors import DomtransError, one_line
from domtrans.storage.address import name_of_address
from domtrans.storage.requests import download, find_below, read_file, remove_file, upload, write_file

log = logging.getLogger(__name__)

INDEX_FILE = "published.json"
"""Names the files of a publication."""
FORMAT = "domtrans-published-1"
FILES_FOLDER = "files"
"""The remote folder with the files, each in a folder with its checksum as the name."""
NAME = re.compile(r"(?:[A-Za-z0-9_-][\w.-]*/)?[A-Za-z0-9_-][\w.-]*", re.ASCII)
"""A file of a publication, at most one folder deep. The index may come from anyone, so no name leads out of the folder."""
CHECKSUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Publication:
    """The files of a published folder at one moment.

    Attributes:
        address: The address of the folder.
        files: The SHA-256 of every file, by its name in the folder; empty if nothing is published.
    """

    address: str
    files: Mapping[str, str]

    @property
    def checksum(self) -> str:
        """What is different for every other publication."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()

    def address_of(self, name: str) -> str:
        """Where a file is stored."""
        return f"{self.address}/{FILES_FOLDER}/{self.files[name]}/{name.rpartition('/')[2]}"

    def download(self, names: Iterable[str], folder: Path) -> None:
        """Copy files into a local folder, apart from those that it has already.

        Raises:
            DomtransError: If a file cannot be copied, or is damaged.
        """
        for name in names:
            file = folder / name
            try:
                if file.is_file() and sha256_of(file) == self.files[name]:
                    continue
                file.parent.mkdir(parents=True, exist_ok=True)
                download(self.address_of(name), file)
                whole = sha256_of(file) == self.files[name]
            except OSError as error:
                raise DomtransError(f"{file} cannot be written: {error.strerror or error}") from None
            if not whole:
                file.unlink()
                raise DomtransError(f"{name} at {self.address} is damaged: it has another checksum than {INDEX_FILE} says")


def read_publication(address: str) -> Publication:
    """What is published at an address.

    Raises:
        DomtransError: If it cannot be read.
    """
    content = read_file(f"{address}/{INDEX_FILE}")
    if content is None:
        return Publication(address, {})
    try:
        index = json.loads(content)
        if index["format"] != FORMAT:
            raise ValueError(f"it has not the format {FORMAT}")
        files: dict[str, str] = index["files"]
        if not all(NAME.fullmatch(name) and CHECKSUM.fullmatch(checksum) for name, checksum in files.items()):
            raise ValueError("a name or a checksum is not valid")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DomtransError(f"{address}/{INDEX_FILE} cannot be read: {one_line(str(error))}") from None
    return Publication(address, files)


def publish(folder: Path, after: Publication, before: Publication) -> None:
    """Upload the files of a local folder that the store lacks, and then the index that names them.

    Args:
        folder: The local folder.
        after: What to publish.
        before: What is published now.

    Raises:
        DomtransError: If the store cannot be written; what was published is then unchanged.
    """
    stored = {before.address_of(name) for name in before.files}
    for name in after.files:
        if after.address_of(name) not in stored:
            upload(folder / name, after.address_of(name))
    index = {"format": FORMAT, "files": dict(after.files)}
    write_file(f"{after.address}/{INDEX_FILE}", (json.dumps(index, indent=2) + "\n").encode())
    try:
        needed = stored | {after.address_of(name) for name in after.files}
        for file in find_below(f"{after.address}/{FILES_FOLDER}"):
            if file not in needed and CHECKSUM.fullmatch(name_of_address(file.rpartition("/")[0])):
                remove_file(file)
    except DomtransError as fault:  # the next publication tries again
        log.debug("files of earlier publications are left: %s", fault)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
