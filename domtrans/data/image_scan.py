"""Finding image files under a folder, with the reason why every other file is passed over."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from domtrans.data.image_formats import HEIF_SUFFIXES, UNSUPPORTED_SUFFIXES, image_suffixes

SYSTEM_NAMES = {
    *("@eadir", "@recycle", "@tmp", "#recycle", "#snapshot"),  # file servers
    *("$recycle.bin", "system volume information", "desktop.ini", "thumbs.db", "ehthumbs.db"),  # Windows
    *("__macosx", "icon\r"),
    "lost+found",
}
"""Files and folders that operating systems and file servers create, in lower case."""


class SkipKind(Enum):
    """Why a file or folder is passed over, with the phrases for one and for several."""

    NOT_AN_IMAGE = "not an image", "not images"
    NO_LABEL_FILE = "no label file", "no label files"
    """A table that a user may expect to be read as a label file."""
    NOT_A_REGULAR_FILE = "not a regular file", "not regular files"
    UNSUPPORTED_FORMAT = "unsupported image format", "unsupported image format"
    NEEDS_HEIF = "needs the extra heif", "need the extra heif"
    BROKEN_LINK = "broken link", "broken links"
    LINK_BACK = "link that leads back", "links that lead back"
    LINK_TO_READ_FOLDER = "link to a folder that is read already", "links to folders that are read already"
    UNREADABLE_FOLDER = "unreadable folder", "unreadable folders"
    HIDDEN_FILE = "hidden file", "hidden files"
    HIDDEN_FOLDER = "hidden folder", "hidden folders"
    SYSTEM_FILE = "system file", "system files"
    SYSTEM_FOLDER = "system folder", "system folders"
    EARLIER_OUTPUT = "output of an earlier transfer into this folder", "outputs of earlier transfers into this folder"
    NOT_IN_USE = "", ""
    """An image that the way to read the folder leaves out; the detail says why."""

    def __init__(self, one: str, several: str) -> None:
        self.one = one
        self.several = several


QUIET = {SkipKind.HIDDEN_FILE, SkipKind.HIDDEN_FOLDER, SkipKind.SYSTEM_FILE, SkipKind.SYSTEM_FOLDER}


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that a scan passed over.

    Attributes:
        path: The file, or the folder with all that is in it.
        kind: Why.
        detail: What distinguishes it from others of its kind, such as "(.txt)"; it follows the phrase of the kind.
        expected: Whether a user would expect it to be read: an image in a format that is not supported, a broken link, an
            unreadable folder.
    """

    path: Path
    kind: SkipKind
    detail: str = ""
    expected: bool = False

    @property
    def reason(self) -> str:
        """A short noun phrase, such as "not an image (.txt)"."""
        return f"{self.kind.one} {self.detail}".strip()

    @property
    def quiet(self) -> bool:
        """Whether nobody expects it to be read: files of the operating system and hidden files."""
        return self.kind in QUIET


@dataclass(frozen=True)
class ImageScan:
    """What is under a folder. Every file is an image, or is skipped by itself or with its folder.

    Attributes:
        images: The image files, sorted by path.
        skipped: Everything else, sorted by path.
    """

    images: list[Path]
    skipped: list[SkippedFile]

    @property
    def note(self) -> str:
        """One sentence about the skipped files, such as "3 files were skipped: 2 not images (.txt), 1 broken link".

        Empty if there are none but quiet ones.
        """
        return describe_skipped(self.skipped)


def scan_images(folder: Path, suffixes: Collection[str] | None = None) -> ImageScan:
    """All files under a folder, as images and as skipped files with reasons.

    Links to folders are followed, and each real folder is read once. Hidden files, files of the operating system, and
    everything that is not a regular file (pipes, devices, broken links) are skipped.

    Args:
        folder: Searched with all its subfolders.
        suffixes: File name suffixes of images, in lower case and with the dot; None: ``image_suffixes()``.
    """
    images: list[Path] = []
    skipped: list[SkippedFile] = []
    for item in walk_images(folder, suffixes):
        if isinstance(item, SkippedFile):
            skipped.append(item)
        else:
            images.append(item)
    return ImageScan(sorted(images), sorted(skipped, key=lambda file: file.path))


def walk_images(folder: Path, suffixes: Collection[str] | None = None) -> Iterator[Path | SkippedFile]:
    """``scan_images`` as an iterator, folder by folder, which holds one folder's names in memory."""
    accepted = image_suffixes() if suffixes is None else suffixes
    root = os.path.realpath(folder)
    walked: set[tuple[int, int]] = set()
    links: list[Path] = []
    yield from _walk(folder, accepted, walked, links)
    for link in links:  # grows while it is read; last, so that a real folder is found under its own name
        target, parent = os.path.realpath(link), os.path.realpath(link.parent)
        if any(os.path.join(place, "").startswith(os.path.join(target, "")) for place in (root, parent)):  # noqa: PTH118
            yield SkippedFile(link, SkipKind.LINK_BACK)
        else:
            yield from _walk(link, accepted, walked, links)


def count_skipped(skipped: Iterable[SkippedFile]) -> dict[SkippedFile, int]:
    """Skipped files by reason, most frequent first: the first file of each reason, and how many there are."""
    counts: Counter[tuple[SkipKind, str]] = Counter()
    first: dict[tuple[SkipKind, str], SkippedFile] = {}
    for file in skipped:
        counts[file.kind, file.detail] += 1
        first.setdefault((file.kind, file.detail), file)
    return {first[reason]: count for reason, count in counts.most_common()}


def describe_skipped(skipped: Iterable[SkippedFile]) -> str:
    """One sentence that counts skipped files by reason, most frequent first, without the quiet ones; "" if none is left."""
    return describe_counts(count_skipped(skipped))


def describe_counts(counts: Mapping[SkippedFile, int]) -> str:
    """``describe_skipped`` for files that ``count_skipped`` has counted."""
    shown = {file: count for file, count in counts.items() if not file.quiet}
    if not shown:
        return ""
    total = sum(shown.values())
    reasons = ", ".join(
        f"{count:,} {file.reason if count == 1 else f'{file.kind.several} {file.detail}'.strip()}"
        for file, count in shown.items()
    )
    return f"{total:,} {'file was' if total == 1 else 'files were'} skipped: {reasons}"


def find_images(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """All image files under a folder, sorted by path: the ``images`` of ``scan_images``.

    Args:
        folder: Searched with all its subfolders.
        suffixes: File name suffixes to accept, in lower case and with the dot; None: those of all readable formats.
    """
    return scan_images(folder, suffixes).images


def find_pictures(folder: Path, endings: Collection[str] | None = None) -> list[Path]:
    """The old name of ``find_images``."""
    return find_images(folder, endings)


def _walk(
    folder: Path, suffixes: Collection[str], walked: set[tuple[int, int]], links: list[Path]
) -> Iterator[Path | SkippedFile]:
    """The files under a folder that was not walked yet. Links to folders are appended to ``links``."""
    pending = [folder]
    while pending:
        place = pending.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in walked:
                yield SkippedFile(place, SkipKind.LINK_TO_READ_FOLDER)
                continue
            walked.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield SkippedFile(place, SkipKind.UNREADABLE_FOLDER, expected=True)
            continue
        folders: list[Path] = []
        for entry in entries:
            path = place / entry.name
            if entry.name.lower() in SYSTEM_NAMES:
                kind = SkipKind.SYSTEM_FOLDER if path.is_dir() else SkipKind.SYSTEM_FILE
                yield SkippedFile(path, kind, entry.name.strip())
            elif entry.name.startswith("."):
                yield SkippedFile(path, SkipKind.HIDDEN_FOLDER if _is_folder(entry) else SkipKind.HIDDEN_FILE)
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            else:
                suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a hundred times faster than Path.suffix
                is_image = suffix in suffixes and not entry.is_symlink() and entry.is_file()
                yield path if is_image else skipped_file(path, suffixes) or path
        pending += reversed(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112 - never raises


def skipped_file(path: Path, suffixes: Collection[str] | None = None) -> SkippedFile | None:
    """Why a file is not read as an image; None if it is."""
    suffix = path.suffix.lower()
    is_wanted = suffix in (image_suffixes() if suffixes is None else suffixes)
    if os.path.isfile(path):  # noqa: PTH113 - never raises
        if is_wanted:
            return None
        if suffix in HEIF_SUFFIXES:
            return SkippedFile(path, SkipKind.NEEDS_HEIF, f"({suffix})", expected=True)
        if suffix in UNSUPPORTED_SUFFIXES:
            return SkippedFile(path, SkipKind.UNSUPPORTED_FORMAT, f"({suffix})", expected=True)
        return SkippedFile(path, SkipKind.NOT_AN_IMAGE, f"({suffix or 'no suffix'})")
    try:
        path.stat()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        kind = SkipKind.LINK_BACK if loop else SkipKind.BROKEN_LINK
        return SkippedFile(path, kind, expected=is_wanted and not loop)
    return SkippedFile(path, SkipKind.NOT_A_REGULAR_FILE)
