"""Which image of a folder a label file means by a name."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

Value = TypeVar("Value")


class ImageNames:
    """Finds the images that a label file names: by their paths, or by their file names, with or without suffix."""

    def __init__(self, names: Sequence[str]) -> None:
        self.paths = [name.replace("\\", "/") for name in names]
        self.by_path = {path: i for i, path in enumerate(self.paths)}
        self.by_path_stem = _unique((path.rpartition(".")[0], i) for path, i in self.by_path.items())
        self.by_name = _unique((path.rpartition("/")[2], i) for path, i in self.by_path.items())
        self.by_stem = _unique((name.rpartition(".")[0], i) for name, i in self.by_name.items() if i is not None)
        holders = {path.rpartition("/")[0] for path in self.by_path}
        self.places = {str(place) for holder in holders if holder for place in (holder, *PurePosixPath(holder).parents)}
        """Every named folder that has images in it or below it."""
        self.by_tail = _unique((tail, holder) for holder in holders for tail in _tails(holder)) | {
            name: name for name in holders
        }
        """The folder of images by its path, and by the last part of its path; None where that is not unique."""

    def find_all(self, names: Sequence[str], folder: str = "", *, stems: bool = True) -> list[int | None]:
        """The image that each name in a label file means; None if there is none, or several.

        A name with a folder means an image in that folder. Only if no image is where such names say, as on another computer,
        the last part of the path counts. A name without a folder means an image anywhere below the label file; anywhere at
        all, if there are no images below it.

        Args:
            names: Paths or file names.
            folder: The folder of the label file, relative to that of the images.
            stems: Whether names may lack their suffix.
        """
        paths = [name.strip().replace("\\", "/").removeprefix("./") for name in names]
        found = [self._at(path, folder, stems=stems) for path in paths]
        as_written = any(i is not None and "/" in path for i, path in zip(found, paths, strict=True))
        holders = {} if as_written else self._holders({path.rpartition("/")[0] for path in paths if "/" in path})
        for k, path in enumerate(paths):
            place, _, name = path.rpartition("/")
            if found[k] is None and "/" not in path:
                found[k] = self._anywhere(path, folder, stems=stems)
            elif found[k] is None and (holder := holders.get(place)) is not None:
                found[k] = self._at(f"{holder}/{name}" if holder else name, stems=stems)
        return found

    def _at(self, path: str, folder: str = "", *, stems: bool) -> int | None:
        """The image at a path relative to the label file, or to the images; beside the label file, if images are there."""
        below = f"{folder}/{path}" if folder else path
        for whole in (below,) if "/" not in path and folder in self.places else (below, path):
            place = posixpath.normpath(whole)
            i = self.by_path.get(place)
            if i is None and stems:
                i = self.by_path_stem.get(place)
            if i is not None:
                return i
        return None

    def _anywhere(self, name: str, folder: str, *, stems: bool) -> int | None:
        """The only image of this file name, below the label file if images are there."""
        i = self.by_name.get(name)
        if i is None and stems:
            i = self.by_stem.get(name)
        elsewhere = i is not None and folder in self.places and not self.paths[i].startswith(f"{folder}/")
        return None if elsewhere else i

    def _holders(self, places: Collection[str]) -> dict[str, str | None]:
        """The folder of images whose path ends as each of these paths does; if none does, the folder without a name."""
        tails = {place: next((tail for tail in _tails(place) if tail in self.by_tail), None) for place in places}
        found = {place: self.by_tail[tail] for place, tail in tails.items() if tail is not None}
        return found or dict.fromkeys(places, "")


def _tails(folder: str) -> Iterator[str]:
    """The last parts of a path, the longest first: "a/b" and "b"."""
    while folder:
        yield folder
        folder = folder.partition("/")[2]


def _unique(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value | None]:
    """A dict whose value is None where a key occurs twice."""
    result: dict[str, Value | None] = {}
    for key, value in pairs:
        result[key] = None if key in result else value
    return result
