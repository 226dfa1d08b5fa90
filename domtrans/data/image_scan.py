"""Finding image files under a folder, with the reason why every other file is passed over."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from domtrans.data.image_formats import HEIF_SUFFIXES, UNSUPPORTED_SUFFIXES, image_suffixes

SYSTEM_NAMES = {
    *("@eadir", "@recycle", "@tmp", "#recycle", "#snapshot"),  # file servers
    *("$recycle.bin", "system volume information", "desktop.ini", "thumbs.db", "ehthumbs.db"),  # Windows
    *("__macosx", "icon\r"),
    "lost+found",
}
"""Files and folders that operating systems and file servers create, in lower case."""

PLURALS = {
    "not an image": "not images",
    "no label file": "no label files",
    "a regular file": "regular files",
    "that leads back": "that lead back",
    "link to a folder": "links to folders",
    "broken link": "broken links",
    "link that": "links that",
    "unreadable folder": "unreadable folders",
    "needs the": "need the",
    "that is read": "that are read",
}
"""How the reasons of several skipped files differ from those of one."""


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that a scan passed over.

    Attributes:
        path: The file, or the folder with all that is in it.
        reason: A short noun phrase, such as "not an image (.txt)".
        quiet: Whether nobody expects it to be read: files of the operating system and hidden files.
        expected: Whether a user would expect it to be read: an image in a format that is not supported, a broken link, an
            unreadable folder.
    """

    path: Path
    reason: str
    quiet: bool = False
    expected: bool = False


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
            yield SkippedFile(link, "link that leads back")
        else:
            yield from _walk(link, accepted, walked, links)


def describe_skipped(skipped: Iterable[SkippedFile]) -> str:
    """One sentence that counts skipped files by reason, most frequent first, without the quiet ones; "" if none is left."""
    counts = Counter(file.reason for file in skipped if not file.quiet)
    if not counts:
        return ""
    total = counts.total()
    reasons = ", ".join(f"{count:,} {reason if count == 1 else _plural(reason)}" for reason, count in counts.most_common())
    return f"{total:,} {'file was' if total == 1 else 'files were'} skipped: {reasons}"


def _plural(reason: str) -> str:
    for one, many in PLURALS.items():
        reason = reason.replace(one, many)
    return reason


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
                yield SkippedFile(place, "link to a folder that is read already")
                continue
            walked.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield SkippedFile(place, "unreadable folder", expected=True)
            continue
        folders: list[Path] = []
        for entry in entries:
            path = place / entry.name
            if entry.name.lower() in SYSTEM_NAMES:
                yield SkippedFile(path, f"system {'folder' if path.is_dir() else 'file'} {entry.name.strip()}", quiet=True)
            elif entry.name.startswith("."):
                yield SkippedFile(path, "hidden folder" if _is_folder(entry) else "hidden file", quiet=True)
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
            return SkippedFile(path, f"needs the extra heif ({suffix})", expected=True)
        if suffix in UNSUPPORTED_SUFFIXES:
            return SkippedFile(path, f"unsupported image format ({suffix})", expected=True)
        return SkippedFile(path, f"not an image ({suffix or 'no suffix'})")
    try:
        path.stat()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        return SkippedFile(path, "link that leads back" if loop else "broken link", expected=not loop and is_wanted)
    return SkippedFile(path, "not a regular file")
