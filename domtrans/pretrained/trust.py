"""Which models are loaded: all, or only those that are signed with the key in ``$DOMTRANS_TRUSTED_KEY``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from domtrans.errors import DomtransError
from domtrans.pretrained.hub import FILES
from domtrans.pretrained.models import FOLDER
from domtrans.storage.paths import expand_home
from domtrans.storage.published import sha256_of
from domtrans.storage.signature import CHECKSUMS_FILE, SIGNATURE_FILE, is_signed_by

KEY_VARIABLE = "DOMTRANS_TRUSTED_KEY"
"""Environment variable with the file of a public key. Only models that are signed with it are loaded."""


def trusted(path: Path) -> Path:
    """The path itself, if the model in it may be loaded. Models that come with domtrans always may.

    Args:
        path: A packed model, or a file in one.

    Raises:
        DomtransError: If a key is configured, and the model is not signed with it or was changed.
    """
    key = os.environ.get(KEY_VARIABLE)
    if key and not path.resolve().is_relative_to(FOLDER.resolve()):
        folder = path if path.is_dir() else path.parent
        fault = signature_fault(folder, Path(expand_home(key))) or next(_changed_files(folder, path), "")
        if fault:
            raise DomtransError(f"the model in {path} is not trusted: {fault}; {KEY_VARIABLE} asks for signed models only")
    return path


def signature_fault(folder: Path, key: Path) -> str:
    """What is wrong with the signature of a packed model, in words; empty if it was made with the key.

    Raises:
        DomtransError: If the key cannot be used.
    """
    try:
        checksums, signature = ((folder / name).read_bytes() for name in (CHECKSUMS_FILE, SIGNATURE_FILE))
    except OSError:
        return f"it is not signed: there is no {SIGNATURE_FILE} of a {CHECKSUMS_FILE}"
    is_right = is_signed_by(checksums, signature, key)
    return "" if is_right else f"{SIGNATURE_FILE} is not a signature of {CHECKSUMS_FILE} by {key}"


def read_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file that the checksums of a packed model name. Raises ValueError if that is not text."""
    lines = (folder / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines()
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}


def _changed_files(folder: Path, path: Path) -> Iterator[str]:
    """What is wrong with the files that are read of a model. A hub need not have sent the others."""
    checksums = read_checksums(folder)
    for name in {*FILES, path.name}:
        file = folder / name
        if name in (CHECKSUMS_FILE, SIGNATURE_FILE) or not file.is_file():
            continue
        if sha256_of(file) != checksums.get(name):
            yield f"{name} was changed or added after it was signed"
