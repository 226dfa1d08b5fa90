"""Which domain reads a path: the one whose reader recognises it."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domtrans.data.image_scan import scan_images
from domtrans.errors import DomtransError
from domtrans.recipe.overrides import assignment, parse
from domtrans.registry.parts import Part, schema
from domtrans.registry.registry import Registry
from domtrans.storage.address import check_address, is_remote
from domtrans.storage.run_files import RECIPE_FILE

DOMAINS = ("source", "target")
RECIPE_SUFFIXES = (".toml", ".json")
ARCHIVE_SUFFIXES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
ARCHIVE_MAGIC = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!")
"""The first bytes of compressed archives."""

MAX_OWN_SIZE = 1024
"""Side in pixels up to which images whose size is in a header are read in this size."""


def find_reading(data: str, words: Sequence[str], registry: Registry) -> tuple[str, Part]:
    """The domain that reads a path.

    Args:
        data: A folder, a file, or a pattern of shards.
        words: Changes such as "layout=classes", "source.layout=classes" or "source=webdataset".
        registry: The domains.

    Returns:
        "source" or "target", and the domain.

    Raises:
        DomtransError: If nothing reads it, or several domains do.
    """
    check_address(data)
    field, name, options = _read_words(words)
    if name is None:
        readings = _readings(data, registry)
        if len(readings) > 1:
            choices = ", or ".join(f"{field}={part.name}" for part in readings)
            raise DomtransError(f"{data} can be read in several ways; choose a reading: {choices}")
        part = readings[0]
    else:
        part = Part(name=name, options=_own_path(data, name, registry))
    return field, Part(name=part.name, options=part.options | options)


def words_of(field: str, part: Part, registry: Registry) -> list[str]:
    """The changes to a recipe that make a domain its source or target, without options that have their default."""
    defaults = {name: info.default for name, info in schema(registry.get("domain", part.name).factory).model_fields.items()}
    options = {name: value for name, value in part.options.items() if name not in defaults or value != defaults[name]}
    return [f"{field}={part.name}", *(assignment(f"{field}.{name}", value) for name, value in options.items())]


def quote_words(words: Sequence[str]) -> str:
    """The words as a shell reads them."""
    return shlex.join(words)


def is_data(data: str) -> bool:
    """Whether an argument is a path of data, and not the name or the file of a recipe, or a run folder."""
    if is_remote(data):
        return True
    path = Path(data).expanduser()
    if path.is_dir():
        return not (path / RECIPE_FILE).is_file()
    suffix = path.suffix.lower()
    if path.is_file():
        return suffix not in RECIPE_SUFFIXES
    return "{" in data or "/" in data or suffix not in ("", *RECIPE_SUFFIXES)  # names of recipes have no dot


def header_shape(part: Part, registry: Registry) -> tuple[int, int] | None:
    """Height and width that all images of a domain have, as the header of a file says; None if none does."""
    reader = registry.get("domain", part.name).reader
    try:
        return None if reader is None else reader.shape(part.options)
    except (DomtransError, OSError, EOFError, ValueError, IndexError, KeyError, zipfile.BadZipFile):
        return None  # the domain says what is wrong


def _read_words(words: Sequence[str]) -> tuple[str, str | None, dict[str, Any]]:
    """Source or target, the name of the domain if it is given, and its options."""
    fields, name, options = set(), None, {}
    for path, value in parse(words):
        field, _, option = path.partition(".")
        if field in DOMAINS:
            fields.add(field)
        if path in DOMAINS:
            name = str(value)
        elif field in DOMAINS:
            options[option] = value
        elif "." in path:
            raise DomtransError(f"'{path}' is not an option of data; give options of the domain, such as source.layout=classes")
        else:
            options[path] = value
    if len(fields) > 1:
        raise DomtransError("the changes are for both source and target; inspect one of them, or a recipe")
    return (fields.pop() if fields else "source"), name, options


def _own_path(data: str, name: str, registry: Registry) -> dict[str, Any]:
    """The option of a named domain that is the path of the data."""
    fields = schema(registry.get("domain", name).factory).model_fields
    option = next((option for option in ("path", "root") if option in fields), None)
    if option is None:
        raise DomtransError(f"the domain '{name}' reads no path; inspect a recipe instead, e.g. domtrans inspect RECIPE")
    root = Path(data).expanduser()
    return {option: str(Path(data).parent) if option == "root" and root.is_file() else data}


def _readings(data: str, registry: Registry) -> list[Part]:
    """The domains that read a path, at least one."""
    readings, refusals = [], []
    for entry in registry:
        if entry.reader is not None:
            try:
                options = entry.reader.options(data)
            except DomtransError as error:
                refusals.append(error)
                continue
            if options is not None:
                readings.append(Part(name=entry.name, options=dict(options)))
    if readings:
        return sorted(readings, key=lambda part: part.name)
    raise refusals[0] if refusals else _unread(data, Path(data).expanduser(), registry)


def _unread(data: str, path: Path, registry: Registry) -> DomtransError:
    """What to do with a path that no domain reads."""
    if path.is_dir():
        readable = [file.name for file in sorted(path.iterdir()) if file.is_file() and _is_readable(str(file), registry)]
        if readable:
            return DomtransError(f"{data} has no images of its own; inspect one of its files: {', '.join(readable[:8])}")
        note = scan_images(path).note
        return DomtransError(f"there are no images in {data}" + (f": {note}" if note else ""))
    if not path.exists():
        return DomtransError(f"there is no file, folder or recipe {data}")
    if path.suffix.lower() in ARCHIVE_SUFFIXES or _is_archive(path):
        return DomtransError(f"{data} is a compressed archive; unpack it and inspect the folder, or its .tar files")
    return DomtransError(
        f"{data} is not data that domtrans can read; give a folder of images, an .npz or .npy file, .tar shards, or a folder "
        "of idx files; for the data of a plugin, name its domain: source=NAME"
    )


def _is_readable(data: str, registry: Registry) -> bool:
    try:
        return bool(_readings(data, registry))
    except DomtransError:
        return False


def _is_archive(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(6).startswith(ARCHIVE_MAGIC)
    except OSError:
        return False
