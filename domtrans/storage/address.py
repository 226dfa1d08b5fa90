"""Addresses of remote files, such as ``s3://bucket/train.tar``: which are accepted, and that they hold no password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

from domtrans.errors import DomtransError

LIBRARIES = {
    "http": "'domtrans[remote]'",
    "https": "'domtrans[remote]'",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
"""By protocol: what pip installs to read it. Others are refused, because a recipe from someone else may name them."""

OBJECT_STORES = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Protocols of stores that a run can be published to: they replace a file in one step."""

ADDRESS = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+):/{1,2}", re.IGNORECASE)
"""The beginning of an address. A ``Path`` of it has one slash less. A single letter is a drive of Windows."""

SECRET = re.compile(r"token|secret|sig|key|pass|pwd|auth|cred|session", re.IGNORECASE)
"""Names in the query of an address whose values are secrets."""


def is_remote(path: str | Path) -> bool:
    """Whether a path is an address. ``s3:`` is one, too: it is what a ``Path`` of ``s3://`` becomes."""
    text = str(path)
    return ADDRESS.match(text) is not None or (text.endswith(":") and protocol_of(text) in LIBRARIES)


def as_address(path: str | Path) -> str:
    """An address that was a ``Path`` for a time, with both slashes again. Raises DomtransError like ``check_address``."""
    return check_address(ADDRESS.sub(r"\g<protocol>://", str(path), count=1))


def protocol_of(address: str) -> str:
    """The protocol of an address, in lower case."""
    return address.partition(":")[0].lower()


def name_of_address(address: str) -> str:
    """The name of the file at an address: what is after the last slash, without a query."""
    return urlsplit(address).path.rpartition("/")[2] or urlsplit(address).netloc


def check_address(path: str) -> str:
    """Check that a path is local, or an address without a secret. Runs, logs and messages show addresses.

    Returns:
        The path.

    Raises:
        DomtransError: For another protocol, or a password, a token or a signature in the address.
    """
    if not is_remote(path):
        return path
    try:
        parts = urlsplit(path)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise DomtransError("a path is not a valid address; check its brackets") from None
    if not parts.netloc and not parts.path.strip("/"):
        raise DomtransError(f"{parts.scheme}:// is only the beginning of an address; name a file or a folder there")
    shown = _without_secrets(path)
    if protocol_of(path) not in LIBRARIES:
        raise DomtransError(
            f"{shown} has the protocol {parts.scheme}, which is not read; use a local path, or one of {', '.join(LIBRARIES)}"
        )
    if "@" in parts.netloc or any(SECRET.search(name) for name, _ in query):
        raise DomtransError(
            f"the address {shown} holds a password, a token or a signature, which the run would keep; leave it out and give it "
            "to fsspec, e.g. in the variable FSSPEC_HTTPS (see 'Remote data' in docs/data.md)"
        )
    return path


def check_local(path: str | Path, what: str) -> None:
    """Raise DomtransError if a path to write is an address. ``what`` is what cannot be there, e.g. "a run folder"."""
    if is_remote(path):
        raise DomtransError(
            f"{_without_secrets(path)} is an address, and {what} must be local; write it here and copy it there"
        )


def _without_secrets(path: str | Path) -> str:
    """An address for messages, without a password and without a query."""
    address = ADDRESS.sub(r"\g<protocol>://", str(path), count=1)
    protocol, _, rest = address.partition(":")
    host, slash, name = re.split("[?#]", rest.removeprefix("//"))[0].partition("/")
    return f"{protocol.lower()}://{host.rpartition('@')[2]}{slash}{name}"


DataPath = Annotated[str, AfterValidator(check_address)]
"""The option of a domain that is a path or an address. It refuses secrets before a run is written."""
