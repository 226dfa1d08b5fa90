"""Requests for remote files through fsspec: read, list, write and remove them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from domtrans.errors import DomtransError
from domtrans.optional import require_extra
from domtrans.storage.address import LIBRARIES, check_address, is_remote, name_of_address, protocol_of

Action = Literal["read", "written"]
"""What a request does, as its error says it."""

VERSION_KEYS = (
    "ETag", "etag", "Content-MD5", "Last-Modified", "LastModified", "md5Hash", "generation", "blob_id", "sha256", "mtime",
    "created",
)  # fmt: skip
"""What file systems call the version of a file."""

WAIT_SECONDS = (0.5, 2.0)
"""Pauses before a failed request is repeated."""

REPEATED = (408, 429)
"""Answers of a server below 500 after which a request is repeated: a timeout, and too many requests."""


class NoFileError(DomtransError):
    """There is no such file, or it may not be read. Some stores answer the same to both.

    Attributes:
        is_denied: Whether the store says that access is denied.
    """

    def __init__(self, message: str, *, is_denied: bool = False) -> None:
        super().__init__(message)
        self.is_denied = is_denied


def file_facts(address: str) -> tuple[int, dict[str, str]]:
    """Size in bytes, and the version, of a remote file.

    Raises:
        DomtransError: If there is no such file, it cannot be reached, or the server does not say its size.
    """
    info = _ask(address, lambda files, key: files.info(key))
    if info.get("type") == "directory":
        raise DomtransError(f"{address} is a folder, not a file")
    if info.get("size") is None:
        raise DomtransError(f"{address}: the server does not say how large the file is; download it and give the local path")
    return int(info["size"]), {key: str(info[key]) for key in VERSION_KEYS if info.get(key) is not None}


def read_range(address: str, start: int, end: int) -> bytes:
    """The bytes ``start`` to ``end`` of a remote file; all of them from a server that only sends whole files."""
    content: bytes = _ask(address, lambda files, key: files.cat_file(key, start=start, end=end))
    return content


def list_folder(address: str) -> list[tuple[str, bool]]:
    """What is in a remote folder: the address of each entry, in order, and whether it is a folder.

    Raises:
        DomtransError: If there is no such folder, or it cannot be reached.
    """
    base, found = address.rstrip("/"), []
    for entry in _ask(address, lambda files, key: files.ls(key, detail=True)):
        name = str(entry["name"]).rstrip("/")
        inside = name_of_address(name if is_remote(name) else f"{protocol_of(address)}://{name}")
        if inside != name_of_address(base) or entry.get("size"):  # some file systems list the folder itself
            found.append((f"{base}/{inside}", entry.get("type") == "directory"))
    return sorted(found)


def read_file(address: str) -> bytes | None:
    """All bytes of a remote file; None if there is no such file. For small files."""
    try:
        content: bytes = _ask(address, lambda files, key: files.cat_file(key))
    except NoFileError as error:
        if error.is_denied:
            raise
        return None
    return content


def download(address: str, file: Path) -> None:
    """Copy a remote file to a local path; DomtransError if that fails."""
    _ask(address, lambda files, key: files.get_file(key, str(file)))


def upload(file: Path, address: str) -> None:
    """Copy a local file to an address; DomtransError if that fails."""
    _ask(address, lambda files, key: files.put_file(str(file), key), "written")


def write_file(address: str, content: bytes) -> None:
    """Replace a small remote file, which object stores do in one step; DomtransError if that fails."""
    _ask(address, lambda files, key: files.pipe_file(key, content), "written")


def find_below(address: str) -> list[str]:
    """The addresses of all files in a remote folder and its folders; empty if there is no such folder."""

    def find(files: Any, key: str) -> list[str]:
        return [name[len(key) :] for name in files.find(key) if name.startswith(key)]

    base = address.rstrip("/")
    return [f"{base}{name}" for name in _ask(base, find)]


def remove_file(address: str) -> None:
    """Remove a remote file, if it is there; DomtransError if that fails."""
    with suppress(NoFileError):
        _ask(address, lambda files, key: files.rm_file(key), "written")


def _ask(address: str, request: Callable[[Any, str], Any], action: Action = "read") -> Any:
    """Send a request to the file system of an address; again if the connection breaks."""
    files = _file_system(check_address(address))
    for seconds in (*WAIT_SECONDS, None):
        try:
            with _as_domtrans_error(address, action, last=seconds is None):
                return request(files, files._strip_protocol(address))
        except _TryAgain:
            time.sleep(seconds or 0)
    raise AssertionError("the last request either returns or raises")


def _file_system(address: str) -> Any:
    """The file system of fsspec for an address."""
    protocol = protocol_of(address)
    fsspec = require_extra("fsspec", "remote", f"the address {address}")
    try:
        kind = fsspec.get_filesystem_class(protocol)
        files = kind(**kind._get_kwargs_from_urls(address))
    except ImportError as error:
        raise DomtransError(
            f"{address} needs a library that is not installed ({error}); install it with: pip install {LIBRARIES[protocol]}"
        ) from None
    files.invalidate_cache()  # of listings, which would hide that a file has changed
    return files


class _TryAgain(Exception):  # noqa: N818 - not an error: the request is repeated
    """A connection broke."""


@contextmanager
def _as_domtrans_error(address: str, action: Action, *, last: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - every file system has its own
        hidden = isinstance(error, FileNotFoundError) and error.__cause__ and protocol_of(address) in ("http", "https")
        fault: BaseException = (hidden and error.__cause__) or error  # fsspec calls every fault of http a missing file
        status = getattr(fault, "status", 0)
        if isinstance(fault, FileNotFoundError) or status in (404, 410):
            raise NoFileError(f"there is no file or folder {address}") from None
        if isinstance(fault, PermissionError) or status in (401, 403):
            raise NoFileError(
                f"{address} may not be {action}: access is denied; give fsspec your credentials (see 'Remote data' in "
                "docs/data.md)",
                is_denied=True,
            ) from None
        repeatable = not isinstance(fault, NotImplementedError | ValueError) and not 400 <= status < 500
        if not last and (repeatable or status in REPEATED):
            raise _TryAgain from None
        kept = ", and start again: what was downloaded is kept" if action == "read" else ""
        raise DomtransError(
            f"{address} cannot be {action}: {_reason(fault)}; check the address and the network{kept}"
        ) from None


def _reason(error: BaseException) -> str:
    """What went wrong, without addresses: those that a server redirects to hold signatures."""
    status = getattr(error, "status", 0)
    text = f"the server answered {status}" if status else re.sub(r"\S+://\S+", "...", " ".join(str(error).split()))
    return text[:160] or type(error).__name__
