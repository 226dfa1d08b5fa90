"""``verify --files``: are the files of a run or of a packed model whole and as they were written?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from domtrans.errors import DomtransError, one_line
from domtrans.pretrained.locate import local_path
from domtrans.pretrained.trust import read_checksums, signature_fault
from domtrans.runs.folder import LOCK_FILE
from domtrans.storage.atomic import UNFINISHED_PREFIX
from domtrans.storage.run_files import RECIPE_FILE
from domtrans.storage.signature import CHECKSUMS_FILE, SIGNATURE_FILE
from domtrans.storage.tensors import read_tensors

SIGNATURE_SUFFIXES = {".sig", ".asc", ".pem", ".sigstore"}
"""Endings of signatures, which are made after the checksums."""


@dataclass(frozen=True)
class CheckedFile:
    """A file, and what is wrong with it.

    Attributes:
        name: Its path in the folder.
        fault: One sentence; empty for a file that is whole.
    """

    name: str
    fault: str = ""


def verify_files(path: str | Path, *, key: str | Path | None = None) -> tuple[CheckedFile, ...]:
    """Read every file of a run folder, a packed model or a model file, and check it.

    Files of tensors must have the checksum that they hold, other files must be readable. In a packed model, every file must
    also have the checksum of ``SHA256SUMS``. Nothing is measured, and no plugin is needed.

    Args:
        path: The folder or file; also ``models:NAME``, or an address, of which all but the training state is downloaded.
        key: The file of a public key (Ed25519 or ECDSA, PEM or OpenSSH), with which a packed model must be signed.

    Returns:
        The files, each with what is wrong with it.

    Raises:
        DomtransError: If there is no such file, the folder is not a run, or the key cannot be used.
    """
    path = local_path(path)
    if path.is_file() and key is None:
        return (_check(path, path.name),)
    if not (path / RECIPE_FILE).is_file():
        raise DomtransError(f"{one_line(str(path))} is neither a run nor a packed model: it has no {RECIPE_FILE}")
    files = {str(file.relative_to(path)): file for file in sorted(path.rglob("*")) if file.is_file() and not _is_passing(file)}
    checked = {name: _check(file, name) for name, file in files.items()}
    if CHECKSUMS_FILE in files:
        damaged = {name: file for name, file in checked.items() if file.fault}
        checked |= {file.name: file for file in _wrong_sums(path, files)} | damaged
    if key is not None:
        checked[SIGNATURE_FILE] = CheckedFile(SIGNATURE_FILE, signature_fault(path, Path(key)))
    return tuple(checked[name] for name in sorted(checked))


def _is_passing(file: Path) -> bool:
    """Whether a file is there only while a run is trained, or is left from one that was killed."""
    return file.name == LOCK_FILE or file.name.startswith(UNFINISHED_PREFIX)


def _check(file: Path, name: str) -> CheckedFile:
    """Read a file as what its ending says."""
    try:
        match file.suffix:
            case ".safetensors":
                read_tensors(file, require_checksum=True)
            case ".json":
                json.loads(file.read_text(encoding="utf-8"))
            case ".jsonl":
                for line in file.read_text(encoding="utf-8").splitlines():
                    json.loads(line)
            case ".png":
                with Image.open(file, formats=("PNG",)) as image:
                    image.load()
            case _:
                file.read_bytes()
    except DomtransError as error:
        return CheckedFile(name, str(error))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError, Image.DecompressionBombError) as error:
        return CheckedFile(name, one_line(f"it cannot be read: {error}"))
    return CheckedFile(name)


def _wrong_sums(folder: Path, files: dict[str, Path]) -> Iterator[CheckedFile]:
    """What ``sha256sum -c`` would complain about, and files that have no checksum."""
    try:
        sums = read_checksums(folder)
    except ValueError:
        return  # the file itself is reported
    for name, digest in sums.items():
        if name not in files:
            yield CheckedFile(one_line(name), f"it is missing, and {CHECKSUMS_FILE} names it")
        elif hashlib.sha256(files[name].read_bytes()).hexdigest() != digest:
            yield CheckedFile(name, f"it was changed: {CHECKSUMS_FILE} has another checksum")
    for name, file in files.items():
        if name not in sums and name != CHECKSUMS_FILE and file.suffix not in SIGNATURE_SUFFIXES:
            yield CheckedFile(name, f"{CHECKSUMS_FILE} does not name it, so it was added later")
