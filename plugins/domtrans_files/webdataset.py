"""The domain ``webdataset``: any number of images in tar shards, read in random order without extracting them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from domtrans import Aspect, Attribute, Cache, DomtransError, ImageSet, Memory, StoredImages, class_list
from domtrans_files.domains import about
from domtrans_files.shards import CLASS_LABEL, Shard, find_shards, find_split_shards, read_shard, read_vocabulary
from domtrans_files.splits import SPLITS, Holdout, Split, class_notes, hold_out, split_index

Labels = tuple[tuple[str, ...], Tensor | None, dict[str, Attribute]]
"""The classes, the labels (int64 [N] or None) and the attributes."""


def webdataset(
    split: Split,
    size: int,
    *,
    path: str,
    test_path: str | None = None,
    holdout: Holdout = 0.02,
    grey: bool = False,
    memory: Memory = "auto",
    block: PositiveInt = 1,
    aspect: Aspect = "crop",
    max_pixels: NonNegativeInt | None = None,
) -> ImageSet:
    """Images in WebDataset tar shards: members ``KEY.png``, ``.jpg`` and other formats, with ``KEY.json`` or ``KEY.cls``.

    A ``KEY.json`` is ``{"class": "cat", "attributes": {"hair_colour": "brown"}}``, where either entry may be missing. A
    ``KEY.cls`` is a class. ``KEY.left.png`` has the labels of ``KEY.left.cls`` or ``KEY.cls``; beside ``KEY.png`` and without
    labels of its own, it is a further image of the sample and skipped. In a folder, shards such as ``train-000.tar`` and
    ``test-000.tar`` are the splits. A file ``vocabulary.json`` beside the shards,
    ``{"hair_colour": ["black", "brown"]}``, sets the values of each label and their order; without it, these are the values
    that occur. Each shard is scanned once; the cache stores the result.

    Args:
        path: The shards, e.g. ``data/train-{000..099}.tar``, or a folder of shards.
        test_path: The shards of the test split.
        holdout: Without a test split, the share of every class that is the test split, the last ones.
        grey: Read the images as one channel.
        memory: "yes" loads the images into memory, "no" reads them when needed, "auto" loads up to 1 GiB of pixels.
        block: Neighbours in a shard that stay together in every shuffle, for a disk that is slow to seek.
        aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or "squeeze".
        max_pixels: Limit of an image's width times height; 0: none; by default that of DOMTRANS_MAX_PIXELS, or Pillow's.

    Raises:
        DomtransError: If a shard is missing, compressed or damaged, or labels do not fit together.
    """
    if test_path is None:
        train_paths, test_paths, notes = find_split_shards(path)
    else:
        train_paths, test_paths, notes = find_shards(path), find_shards(test_path), []
    paths = train_paths + (test_paths or [])
    cache = Cache()
    shards = [read_shard(shard, cache) for shard in paths]
    root, files, spans = _join_spans(paths, shards)
    notes += _describe_skipped(shards)
    if not len(spans):
        skipped = "".join(f"; {note}" for note in notes)
        raise DomtransError(f"there are no images in the {len(paths)} shards of {path}; members are e.g. 00000000.png{skipped}")
    classes, labels, attributes = _join_labels(paths, shards, read_vocabulary(paths[0].parent), path)
    count = len(spans)
    if test_paths is None:
        index = split_index(labels, count, split, holdout, path)
        grouped = torch.zeros(count, dtype=torch.int64) if labels is None else labels
        parts = {name: hold_out(grouped, name, holdout) for name in SPLITS}
    else:
        border = sum(len(shard.spans) for shard in shards[: len(train_paths)])
        parts = {"train": torch.arange(border), "test": torch.arange(border, count)}
        index = parts[split]
        if not len(index):
            raise DomtransError(
                f"there are no images for the {split} split in {path if split == 'train' else test_path or path}"
            )
    if labels is not None:
        notes += class_notes(labels, classes, parts["train"], parts["test"], holdout if test_paths is None else None)
    stored = StoredImages(root, files, spans, size, 1 if grey else 3, block, aspect=aspect, max_pixels=max_pixels)
    images = ImageSet(stored, labels, classes, about("webdataset", path, split), attributes, tuple(notes))
    return images.take(index).kept(memory)


def _describe_skipped(shards: Sequence[Shard]) -> list[str]:
    """A sentence about the members that are not read, or nothing."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for shard in shards:
        for reason, (count, name) in shard.skipped.items():
            counts[reason] += count
            first.setdefault(reason, name)
    if not counts:
        return []
    reasons = ", ".join(f"{count:,} {reason} such as {first[reason]}" for reason, count in counts.most_common())
    return [f"{counts.total():,} members of the shards were skipped: {reasons}"]


def _join_spans(paths: Sequence[Path], shards: Sequence[Shard]) -> tuple[str, list[str], Tensor]:
    """The common folder of the shards, their paths relative to it, and the location of every image, int64 [N, 3]."""
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - Path.resolve would follow links
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])  # noqa: PTH120
    spans = [torch.cat([torch.full((len(shard.spans), 1), i), shard.spans], 1) for i, shard in enumerate(shards)]
    return root, [os.path.relpath(path, root) for path in absolute], torch.cat(spans)


def _join_labels(paths: Sequence[Path], shards: Sequence[Shard], vocabulary: Mapping[str, list[str]], where: str) -> Labels:
    """The classes, labels and attributes of all images; ``where`` is for error messages."""
    names = sorted({name for shard in shards for name in shard.values} | set(vocabulary))
    attributes = {}
    for name in names:
        values = vocabulary.get(name) or class_list(value for shard in shards for value in shard.values.get(name, ()))
        index = torch.cat([_label_index(path, shard, name, values) for path, shard in zip(paths, shards, strict=True)])
        attributes[name] = Attribute(tuple(values), index)
    classes = attributes.pop(CLASS_LABEL, None)
    missing = 0 if classes is None else int((classes.index < 0).sum())
    if classes is None or missing == len(classes.index):
        return (), None, attributes
    if missing:
        raise DomtransError(
            f"{missing:,} of the {len(classes.index):,} images of {where} have no class; give one to all or to none"
        )
    return classes.values, classes.index, attributes


def _label_index(path: Path, shard: Shard, name: str, values: Sequence[str]) -> Tensor:
    """A shard's label of one name as an index into ``values``, int64 [n]; -1 if it is unknown."""
    if name not in shard.values:
        return torch.full((len(shard.spans),), -1)
    position = {value: i for i, value in enumerate(values)}
    unknown = [value for value in shard.values[name] if value not in position]
    if unknown:
        raise DomtransError(
            f"{path} has the {name} '{unknown[0]}', which vocabulary.json does not list; it lists {', '.join(values)[:200]}"
        )
    positions = torch.tensor([*(position[value] for value in shard.values[name]), -1])
    return positions[shard.labels[name]]  # an unknown label is -1 and selects the last entry, also -1
