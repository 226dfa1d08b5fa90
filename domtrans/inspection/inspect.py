"""``inspect``: what a path of data, or a recipe, would be read as. Nothing is trained, and no pixels are kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from domtrans.data.batches import evenly
from domtrans.data.decode_worker import Copies, Location, name_of
from domtrans.data.domains import load_domain
from domtrans.data.image_files import silence_pillow_warnings
from domtrans.data.image_scan import describe_counts, walk_images
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.errors import DomtransError
from domtrans.inspection.duplicates import Member, Repeats, find_exact, find_near
from domtrans.inspection.file_facts import FactsTable, ImageFacts, pixel_facts, read_facts
from domtrans.inspection.readings import MAX_OWN_SIZE, find_reading, header_shape, is_data, words_of
from domtrans.pretrained.locate import is_address
from domtrans.recipe.files import find_recipe
from domtrans.registry.parts import Part, did_you_mean, schema
from domtrans.registry.registry import Registry

SPLITS = ("train", "test")
STORED_SIZE = 64
"""Side in pixels for images in files, which are decoded in their own size here."""

QUICK_SAMPLE = 200
"""Images of a split that are decoded if only headers are read of the others."""

BLOCK = 256
"""Images that are read between two reports of progress."""

MAX_PINNED = 100_000
"""Images up to which the layout of a folder is determined, which scans it again."""

Report = Callable[[int, int, int], None]
"""Called with the number of images read, of all images, and of damaged ones."""


@dataclass(frozen=True)
class Skipped:
    """Files that are not read, for one reason.

    Attributes:
        reason: A short noun phrase, such as "not an image (.txt)".
        count: Files or folders.
        example: The first one, relative to the folder.
        quiet: Whether nobody expects them to be read.
    """

    reason: str
    count: int
    example: str
    quiet: bool


@dataclass(frozen=True)
class DomainInspection:
    """What one domain reads.

    Attributes:
        part: The domain.
        words: The changes to a recipe that read it this way.
        sets: The images by split. Those in files are not in memory.
        tables: What is known about the images, by split.
        problems: By split that cannot be read: why.
        size_from: Where the sizes come from: "headers" of files, "arrays", or "as read" after resizing.
        skipped: Files of the folder that are not read.
        images_in_folder: Image files in the folder; None if the data is not a folder of image files.
        exact: Equal files; None if they were not compared.
        near: Similar images, an estimate; None if they were not compared.
    """

    part: Part
    words: list[str]
    sets: dict[str, ImageSet]
    tables: dict[str, FactsTable]
    problems: dict[str, str]
    size_from: str
    skipped: list[Skipped] = field(default_factory=list)
    images_in_folder: int | None = None
    exact: Repeats | None = None
    near: Repeats | None = None

    @property
    def classes(self) -> dict[str, dict[str, int]]:
        """The images of each class by split."""
        names = next(iter(self.sets.values())).classes
        counts = {split: _class_counts(images) for split, images in self.sets.items()}
        return {name: {split: counts[split].get(name, 0) for split in counts} for name in names}

    @property
    def notes(self) -> list[str]:
        """What the domain says it skipped or lacks, and why a split cannot be read."""
        notes = [note for images in self.sets.values() for note in images.notes]
        return [*dict.fromkeys(notes), *(f"no {split} split: {why}" for split, why in self.problems.items())]

    @property
    def gaps(self) -> list[str]:
        """Classes without images, and numbers that are missing between the class names."""
        gaps = []
        for name, counts in self.classes.items():
            empty = [split for split, count in counts.items() if not count]
            if empty:
                gaps.append(f"{name}: no images" + ("" if len(empty) == len(counts) else f" in {' and '.join(empty)}"))
        numbers = [int(name) for name in self.classes if name.isdecimal()]
        if numbers and len(numbers) == len(self.classes) and max(numbers) - min(numbers) < 10 * len(numbers):
            gaps += [f"{k}: no such class" for k in sorted(set(range(min(numbers), max(numbers))) - set(numbers))]
        return gaps

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height of the smallest, the median and the largest image by area. Empty if no image can be read."""
        widths, heights = (np.concatenate([np.asarray(getattr(table, name), np.int64) for table in self.tables.values()])
                           for name in ("widths", "heights"))  # fmt: skip
        if not len(widths):
            return {}
        order = np.lexsort((widths, widths * heights))
        at = {"smallest": order[0], "median": order[(len(order) - 1) // 2], "largest": order[-1]}
        return {name: (int(widths[k]), int(heights[k])) for name, k in at.items()}

    @property
    def kinds(self) -> Counter[str]:
        """Images by kind: grey or colour, with or without alpha."""
        return sum((table.kinds for table in self.tables.values()), Counter())

    @property
    def formats(self) -> Counter[str]:
        """Images by file format."""
        return sum((table.formats for table in self.tables.values()), Counter())

    @property
    def damaged(self) -> int:
        """Images that cannot be read, of those that were checked."""
        return sum(table.damaged for table in self.tables.values())

    @property
    def checked(self) -> int:
        """Images that were decoded."""
        return sum(table.checked for table in self.tables.values())

    @property
    def thinned_notes(self) -> list[str]:
        """The notes without those that only count what ``skipped`` lists."""
        counted = {describe_counts(images.skipped) for images in self.sets.values()}
        return [note for note in self.notes if note not in counted]

    def name(self, member: Member) -> str:
        """The name of an image: its file, relative to the data, or its split and position."""
        split, position = member
        pixels = self.sets[split].pixels
        if not isinstance(pixels, StoredImages):
            return f"{split} image {position:,}"
        (location,) = pixels.locations(torch.tensor([position]))
        return _relative(location, pixels.root)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        first = next(iter(self.sets.values()))
        repeats = {
            name: found.to_json() | {"examples": [[self.name(a), self.name(b)] for a, b in found.examples]}
            for name, found in (("exact", self.exact), ("near", self.near))
            if found is not None
        }
        damaged = [{"file": file, "reason": why} for table in self.tables.values() for file, why in table.damaged_examples]
        return {
            "domain": self.part.name,
            "words": self.words,
            "splits": {split: len(images) for split, images in self.sets.items()},
            "classes": self.classes,
            "attributes": {name: list(known.values) for name, known in first.attributes.items()},
            "gaps": self.gaps,
            "sizes": {name: list(size) for name, size in self.sizes.items()} | {"from": self.size_from},
            "kinds": dict(self.kinds.most_common()),
            "formats": dict(self.formats.most_common()),
            "skipped": [vars(skipped) for skipped in self.skipped],
            "images_in_folder": self.images_in_folder,
            "notes": self.notes,
            "duplicates": repeats or None,
            "damaged": {"checked": self.checked, "count": self.damaged, "files": damaged},
        }


@dataclass(frozen=True)
class Inspection:
    """What a path of data, or the source and the target of a recipe, would be read as.

    Attributes:
        data: The path or the recipe, as it was given.
        quick: Whether only headers were read, and a sample was decoded.
        domains: By "source" and "target".
        choices: What a recipe that chooses by its data chose.
    """

    data: str
    quick: bool
    domains: dict[str, DomainInspection]
    choices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        domains = {name: domain.to_json() for name, domain in self.domains.items()}
        choices = {"choices": list(self.choices)} if self.choices else {}
        return {"data": self.data, "quick": self.quick, "domains": domains, **choices}


def inspect(
    data: str, changes: Sequence[str] = (), *, registry: Registry, quick: bool = False, report: Report | None = None
) -> Inspection:
    """Find out how data would be read, and what is wrong with it. Nothing is trained.

    Args:
        data: A folder, an .npz or .npy file, .tar shards or a pattern of them, a folder of idx or .mat files; or a recipe.
        changes: Options of the domain, such as "layout=classes"; or changes to the recipe.
        registry: The parts.
        quick: Read headers only, and decode a sample. Duplicates are not searched.
        report: Called with the progress.

    Raises:
        DomtransError: If the data cannot be read, or can be read in several ways.
    """
    choices: tuple[str, ...] = ()
    if is_data(data):
        field, part = find_reading(data, changes, registry)
        parts, size = {field: part}, None
    else:
        _check_exists(data, registry)
        recipe = find_recipe(data, registry, changes)
        parts, size, choices = {"source": recipe.source, "target": recipe.target}, recipe.image_size, recipe.choices
    domains = {
        name: inspect_domain(name, part, registry, size=size, quick=quick, report=report) for name, part in parts.items()
    }
    return Inspection(data, quick, domains, choices)


def _check_exists(data: str, registry: Registry) -> None:
    """Raise DomtransError for a name that is neither a path, nor an address, nor a recipe."""
    names = registry.names("recipe")
    if data not in names and not os.path.exists(data) and not is_address(data):  # noqa: PTH110 - raises for no name
        raise DomtransError(f"there is no folder, file or recipe '{data}'{did_you_mean(data, names, 'recipes')}")


def inspect_domain(
    field: str, part: Part, registry: Registry, *, size: int | None = None, quick: bool = False, report: Report | None = None
) -> DomainInspection:
    """Inspect one domain.

    Args:
        field: "source" or "target".
        part: The domain.
        registry: The parts.
        size: Side in pixels in which images of other domains than files and arrays are read.
        quick: Read headers only, and decode a sample.
        report: Called with the progress.

    Raises:
        DomtransError: If no split can be read.
    """
    shape = header_shape(part, registry)
    if shape is not None:
        size = min(max(shape), MAX_OWN_SIZE)
    sets, problems = _load_splits(part, registry, size or STORED_SIZE)
    stored = all(isinstance(images.pixels, StoredImages) for images in sets.values())
    width, height = (shape[1], shape[0]) if shape else (size or STORED_SIZE, size or STORED_SIZE)
    total, done, tables = sum(map(len, sets.values())), 0, {}
    for split, images in sets.items():
        tables[split] = table = FactsTable()
        for number, found in enumerate(_facts(images, width, height, quick=quick), start=1):
            if isinstance(found, ImageFacts):
                table.add(found)
            else:
                table.add_damaged(*found)
            if report is not None and total > BLOCK and (number % BLOCK == 0 or number == len(images)):
                report(done + number, total, sum(each.damaged for each in tables.values()))
        done += len(images)
    return DomainInspection(
        part,
        words_of(field, _pin_layout(part, registry, sets), registry),
        sets,
        tables,
        problems,
        "headers" if stored else "arrays" if shape else "as read",
        _skipped(part, sets),
        _count_images(part, sets) if stored else None,
        None if quick else find_exact(tables),
        None if quick else find_near(tables),
    )


def _load_splits(part: Part, registry: Registry, size: int) -> tuple[dict[str, ImageSet], dict[str, str]]:
    """The splits that can be read, without decoding images in files, and why others cannot."""
    fields = schema(registry.get("domain", part.name).factory).model_fields
    reading = Part(name=part.name, options=part.options | ({"memory": "no"} if "memory" in fields else {}))
    sets, errors = {}, {}
    for split in SPLITS:
        try:
            sets[split] = load_domain(registry, reading, split, size)
        except DomtransError as error:
            errors[split] = error
    if not sets:
        raise errors[SPLITS[0]]
    return sets, {split: str(error) for split, error in errors.items()}


def _facts(images: ImageSet, width: int, height: int, *, quick: bool) -> Iterator[ImageFacts | tuple[str, str]]:
    """The facts of all images in order; name and reason of a damaged one."""
    pixels = images.pixels
    if not isinstance(pixels, StoredImages):
        for block in images.blocks(BLOCK):
            yield from (pixel_facts(image, width, height) for image in block.cpu().numpy())
        return
    sample = set(evenly(len(images), QUICK_SAMPLE).tolist()) if quick else ()

    def read(position: int, location: Location, copies: Copies) -> ImageFacts | tuple[str, str]:
        try:
            decode = not quick or position in sample
            return read_facts(location, decode=decode, channels=pixels.channels, max_pixels=pixels.max_pixels, copies=copies)
        except DomtransError as error:
            name = _relative(location, pixels.root)
            return name, str(error).replace(name_of(location), "it", 1)

    with silence_pillow_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for index in torch.arange(len(images)).split(BLOCK):
            locations = pixels.locations(index)
            yield from pool.map(read, index.tolist(), locations, repeat(pixels.download(locations)))


def _skipped(part: Part, sets: dict[str, ImageSet]) -> list[Skipped]:
    """What the domain says it skipped."""
    folder = Path(str(part.options.get("path", ""))).expanduser()
    counts = {file: count for images in sets.values() for file, count in images.skipped.items()}
    return [Skipped(file.reason, count, os.path.relpath(file.path, folder), file.quiet) for file, count in counts.items()]


def _count_images(part: Part, sets: dict[str, ImageSet]) -> int | None:
    """The number of images in a folder of image files; None if the data is something else."""
    folder = Path(str(part.options.get("path", ""))).expanduser()
    if not part.options.get("path") or not folder.is_dir() or not all(map(_have_files, sets.values())):
        return None
    return sum(isinstance(item, Path) for item in walk_images(folder))


def _have_files(images: ImageSet) -> bool:
    """Whether the images are files of their own, and not parts of shards."""
    assert isinstance(images.pixels, StoredImages)
    first = images.pixels.locations(torch.arange(min(1, len(images))))
    return not any(offset for _, offset, _ in first)


def _pin_layout(part: Part, registry: Registry, sets: dict[str, ImageSet]) -> Part:
    """The part with the layout that was recognised, if it reads the same images with the same labels."""
    fields = schema(registry.get("domain", part.name).factory).model_fields
    if "layout" not in fields or part.options.get("layout", "auto") != "auto" or sum(map(len, sets.values())) > MAX_PINNED:
        return part
    for layout in get_args(fields["layout"].annotation):
        if layout == "auto":
            continue
        pinned = Part(name=part.name, options=part.options | {"layout": layout})
        try:
            others, _ = _load_splits(pinned, registry, STORED_SIZE)
        except DomtransError:
            continue
        if others.keys() == sets.keys() and all(_are_same(others[split], images) for split, images in sets.items()):
            return pinned
    return part


def _are_same(one: ImageSet, other: ImageSet) -> bool:
    """Whether two sets of images in files have the same files, labels and attributes."""
    return one.classes == other.classes and one.fingerprint() == other.fingerprint()


def _class_counts(images: ImageSet) -> dict[str, int]:
    if images.labels is None:
        return {}
    counts = torch.bincount(images.labels.cpu(), minlength=len(images.classes)).tolist()
    return dict(zip(images.classes, counts, strict=True))


def _relative(location: Location, root: str) -> str:
    path, offset, length = location
    return name_of((os.path.relpath(path, root), offset, length))
