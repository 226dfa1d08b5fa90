"""What a transfer has to do: which files it reads, and where each of them goes."""

from __future__ import annotations

import glob
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from domtrans.data.decode_worker import LARGEST
from domtrans.data.image_files import SUFFIXES, find_pictures, format_of
from domtrans.errors import DomtransError
from domtrans.inference.video import ANIMATED, FILMS

PART = re.compile(r"(.+)-\d+")
"""The name of one of several pictures that come of a file, without its ending."""


@dataclass(frozen=True)
class Job:
    """One file to transfer: from ``source``, which messages call ``name``, to ``target``."""

    source: Path | BinaryIO
    name: str
    target: Path | BinaryIO
    kind: str
    """What is written: a format of Pillow, or the ending of a film."""

    @property
    def is_film(self) -> bool:
        """Whether the source is read as a film."""
        return isinstance(self.source, Path) and self.source.suffix.lower() in FILMS

    @property
    def may_move(self) -> bool:
        """Whether the target holds more than one frame."""
        return self.kind in ANIMATED or self.kind in FILMS

    @property
    def is_done(self) -> bool:
        """Whether what it is to write is there."""
        return isinstance(self.target, Path) and self.target.exists()


def plan(
    sources: Sequence[Path | BinaryIO],
    destination: Path | BinaryIO,
    *,
    ending: str | None = None,
    several_each: bool = False,
    beside: Sequence[Path] = (),
) -> tuple[list[Job], bool]:
    """The jobs, in order, and whether a single file was named, not a folder or pattern.

    ``ending``: of pictures, where the destination does not have one; None: ".png". ``several_each``: ``a.png`` brings
    ``a-1.png``, ``a-2.png`` and so on along. ``beside``: what else will be written. Raises DomtransError for what is not there,
    and for what would be written over a picture that is to be read.
    """
    try:
        found = [source for given in sources for source in _expanded(given, destination)]
        if len(sources) == 1 and found == [sources[0]] and not _is_folder(found[0]):
            jobs, single = [_single(found[0], destination, ending)], True
        else:
            jobs, single = _many(found, destination, ending, several_each), False
        _check_apart(jobs, beside, several_each)
    except (OSError, RuntimeError) as error:  # a name that no file can have, links that lead in circles
        raise DomtransError(f"{getattr(error, 'filename', None) or destination} cannot be opened: {error}") from None
    return jobs, single


def output_names(names: Sequence[Path], ending: str = ".png", *, several_each: bool = False) -> list[Path]:
    """The output file for each picture of a folder, no two the same, on file systems that ignore case too.

    Pictures that would share one keep their ending in it; so does one that would have the name of an output folder, or, with
    ``several_each``, of one of another picture's numbered ones. Films keep their kind.
    """
    longer: set[Path] = set()
    while True:
        made = [_renamed(name, ending, keep=name in longer) for name in names]
        taken = Counter(map(_key, made)) + Counter({_key(parent) for name in made for parent in name.parents})
        clashing = {name for name, output in zip(names, made, strict=True) if taken[_key(output)] > 1}
        if several_each:
            parts = [(name, whole) for name, output in zip(names, made, strict=True) if (whole := _whole(output)) is not None]
            clashing |= {name for name, whole in parts if taken[_key(whole)]}
        if clashing <= longer:
            return made
        longer |= clashing


def kind_of(target: Path) -> str:
    """The ending of a film, or else Pillow's name for the format; DomtransError if the ending says neither."""
    return target.suffix.lower() if target.suffix.lower() in FILMS else format_of(target)


def numbered(target: Path | BinaryIO, number: int) -> Path:
    """The ``number``-th of the pictures that come of a file: ``a.png`` brings ``a-1.png`` along."""
    if not isinstance(target, Path):
        raise DomtransError("several pictures, such as faces, need names; give a file or a folder, not standard output")
    return target.with_name(f"{target.stem}-{number}{target.suffix}")


def read_stream(file: BinaryIO) -> BinaryIO:
    """All of an open file, which may not be able to seek. Raises DomtransError if there is too much of it."""
    name = str(getattr(file, "name", "the picture"))
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DomtransError(f"{name} has more than {LARGEST:,} bytes, too many for a picture")
    held = io.BytesIO(content)
    held.name = name
    return held


def _renamed(name: Path, ending: str, *, keep: bool = False) -> Path:
    ending = name.suffix if name.suffix.lower() in FILMS else ending
    return name.with_name(name.name + ending) if keep else name.with_suffix(ending)


def _whole(part: Path) -> Path | None:
    """Of what picture one would be the numbered part, if any, by its name."""
    match = PART.fullmatch(part.stem)
    return part.with_name(match[1] + part.suffix) if match else None


def _expanded(given: Path | BinaryIO, destination: Path | BinaryIO) -> Sequence[Path | BinaryIO]:
    """What is there by that name; else the pictures and folders that match it as a pattern."""
    if not isinstance(given, Path) or given.exists():
        return [given]
    if not glob.has_magic(str(given)):
        raise DomtransError(f"there is no file or folder {given}")
    matching = [Path(match) for match in sorted(glob.glob(str(given), recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute one
    wanted = [path for path in matching if path.is_dir() or path.suffix.lower() in SUFFIXES | FILMS.keys()]
    if isinstance(destination, Path):
        beyond = Path(*takewhile(lambda part: not glob.has_magic(part), given.parts))
        wanted = _not_made_before(wanted, beyond, destination)
    if not wanted:
        raise DomtransError(f"no picture or folder matches {given}")
    return wanted


def _is_folder(source: Path | BinaryIO) -> bool:
    return isinstance(source, Path) and source.is_dir()


def _single(source: Path | BinaryIO, destination: Path | BinaryIO, ending: str | None) -> Job:
    name = str(source) if isinstance(source, Path) else str(getattr(source, "name", "the picture"))
    asked = Path(f"picture{ending or '.png'}")
    if not isinstance(destination, Path):
        return Job(source, name, destination, kind_of(asked))
    if destination.is_dir():
        destination /= _renamed(Path(source.name), asked.suffix) if isinstance(source, Path) else asked
    elif ending is not None and kind_of(destination) != kind_of(asked):
        raise DomtransError(f"{destination} does not end as the format {ending[1:]} does; leave one of the two out")
    return Job(source, name, destination, kind_of(destination))


def _many(found: Sequence[Path | BinaryIO], folder: Path | BinaryIO, ending: str | None, several_each: bool) -> list[Job]:
    sources = [source for source in found if isinstance(source, Path)]
    if not isinstance(folder, Path) or len(sources) < len(found):
        raise DomtransError("standard input and output are for one picture alone; name files and a folder for several")
    if folder.is_file():
        raise DomtransError(f"{folder} is a file; a folder of pictures needs a folder to go to")
    paths = list(dict.fromkeys(path for source in sources for path in _pictures(source, folder)))
    if not paths:
        raise DomtransError(f"there are no pictures in {', '.join(map(str, sources[:9]))}")
    base = _common_folder(sources)
    names = [Path(os.path.relpath(path, base)) for path in paths]
    targets = [folder / name for name in output_names(names, ending or ".png", several_each=several_each)]
    return [Job(path, str(path), target, kind_of(target)) for path, target in zip(paths, targets, strict=True)]


def _pictures(source: Path, destination: Path) -> list[Path]:
    """A file, or the pictures and films of a folder."""
    if not source.is_dir():
        return [source]
    return _not_made_before(find_pictures(source, SUFFIXES | FILMS.keys()), source, destination)


def _not_made_before(found: list[Path], folder: Path, destination: Path) -> list[Path]:
    """What was found in a folder, without what an earlier transfer wrote into a destination inside it."""
    made, whole = destination.resolve(), folder.resolve()
    inside = made != whole and made.is_relative_to(whole)
    return [path for path in found if not path.resolve().is_relative_to(made)] if inside else found


def _common_folder(sources: Sequence[Path]) -> str:
    """The folder that all names are told from: of a single folder, itself."""
    folders = {os.path.abspath(path if path.is_dir() else path.parent) for path in sources}  # noqa: PTH100 - links stay as they are
    try:
        return os.path.commonpath(folders)
    except ValueError:
        raise DomtransError("the pictures lie on different drives; transfer them drive by drive") from None


def _check_apart(jobs: Sequence[Job], beside: Sequence[Path], several_each: bool) -> None:
    """Refuse to replace a picture that is to be read: nobody has another copy of it."""
    paths = [job.source for job in jobs if isinstance(job.source, Path)]
    made = [job.target for job in jobs if isinstance(job.target, Path)]
    parents = {parent: parent.resolve() for parent in {path.parent for path in (*paths, *made, *beside)}}
    places = {path: parents[path.parent] / path.name for path in (*paths, *made, *beside)}
    kept = {places[path] for path in paths} | {path.resolve() for path in paths if path.is_symlink()}
    kept |= {whole for path in kept if several_each and (whole := _whole(path)) is not None}
    for target in (*made, *beside):
        if places[target] in kept:
            raise DomtransError(f"{target} would be written over a picture that is to be transferred; choose another output")
    outputs = {places[target] for target in made}
    for extra in beside:
        if places[extra] in outputs:
            raise DomtransError(f"{extra} would be written over one of the pictures that are made; choose another name for it")


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
