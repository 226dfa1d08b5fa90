"""Domain ``webdataset``: a million pictures in tar shards, read at random from where they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import PositiveInt
from torch import Tensor

from domtrans import Attribute, Cache, DomtransError, ImageSet, Memory, StoredImages
from domtrans_files.domains import Holdout, Split, about, part_of
from domtrans_files.shards import CLASS, Shard, find_shards, read_shard, read_vocabulary

Labels = tuple[tuple[str, ...], Tensor | None, dict[str, Attribute]]
"""Classes, int64 [N] into them or None, and the attributes."""


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
) -> ImageSet:
    """Pictures in WebDataset tar shards: members ``KEY.png``, ``.jpg`` or ``.webp``, with ``KEY.json`` or ``KEY.cls``.

    A ``KEY.json`` is ``{"class": "cat", "attributes": {"hair_colour": "brown"}}``, either of it or both; a ``KEY.cls`` is a
    class. Pictures are cropped to their centre square. A file ``vocabulary.json`` beside the shards,
    ``{"hair_colour": ["black", "brown"]}``, fixes the values of labels and their order; otherwise they are those that occur.
    Shards are scanned once, which the cache remembers.

    ``path``: the shards, e.g. ``data/train-{000..099}.tar``, or a folder of them. ``test_path``: those of the test split.
    ``holdout``: without them the share of the pictures, the last, that is the test split. ``grey``: read as one channel.
    ``memory``: "yes" holds the pictures in memory, "no" reads them as they are needed, "auto" holds up to 1 GiB of pixels.
    ``block``: neighbours in a shard that stay together in every shuffle, for a disk that is slow to seek.
    Raises DomtransError for shards that are missing, compressed or damaged, and for labels that do not fit.
    """
    trained_on = find_shards(path)
    paths = trained_on + (find_shards(test_path) if test_path is not None else [])
    cache = Cache()
    shards = [read_shard(shard, cache) for shard in paths]
    root, files, spans = _places(paths, shards)
    if not len(spans):
        raise DomtransError(f"there are no pictures in the {len(paths)} shards of {path}; members are e.g. 00000000.png")
    classes, labels, attributes = _join(paths, shards, read_vocabulary(paths[0].parent), path)
    images = StoredImages(root, files, spans, size, 1 if grey else 3, block)
    whole = ImageSet(images, labels, classes, about("webdataset", path, split), attributes)
    if test_path is None:
        index = part_of(torch.arange(len(whole)), split, holdout, path)
    else:
        parts = torch.arange(len(whole)).tensor_split([sum(len(shard.spans) for shard in shards[: len(trained_on)])])
        index = parts[split == "test"]
        if not len(index):
            raise DomtransError(f"there are no pictures for the {split} split in {path if split == 'train' else test_path}")
    return whole.take(index).kept(memory)


def _places(paths: Sequence[Path], shards: Sequence[Shard]) -> tuple[str, list[str], Tensor]:
    """A folder, the shards' paths below it, and where every picture is, int64 [N, 3]."""
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - resolving links would name other files
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])  # noqa: PTH120
    spans = [torch.cat([torch.full((len(s.spans), 1), i), s.spans], 1) for i, s in enumerate(shards)]
    return root, [os.path.relpath(path, root) for path in absolute], torch.cat(spans)


def _join(paths: Sequence[Path], shards: Sequence[Shard], vocabulary: Mapping[str, list[str]], where: str) -> Labels:
    """The classes, the labels and the attributes of all pictures."""
    names = sorted({name for shard in shards for name in shard.values} | set(vocabulary))
    attributes = {}
    for name in names:
        values = vocabulary.get(name) or _in_order({value for shard in shards for value in shard.values.get(name, ())})
        index = torch.cat([_renumbered(path, shard, name, values) for path, shard in zip(paths, shards, strict=True)])
        attributes[name] = Attribute(tuple(values), index)
    of_class = attributes.pop(CLASS, None)
    if of_class is None or bool((of_class.index < 0).all()):
        return (), None, attributes
    if bool((of_class.index < 0).any()):
        missing = int((of_class.index < 0).sum())
        raise DomtransError(
            f"{missing:,} of the {len(of_class.index):,} pictures of {where} have no class; give one to all or none"
        )
    return of_class.values, of_class.index, attributes


def _renumbered(path: Path, shard: Shard, name: str, values: Sequence[str]) -> Tensor:
    """A shard's labels of one name, int64 [n] into ``values``; -1 where nothing is said."""
    if name not in shard.values:
        return torch.full((len(shard.spans),), -1)
    places = {value: place for place, value in enumerate(values)}
    unknown = [value for value in shard.values[name] if value not in places]
    if unknown:
        raise DomtransError(
            f"{path} has the {name} '{unknown[0]}', which vocabulary.json does not name; it names {', '.join(values)[:200]}"
        )
    renumbered = torch.tensor([*(places[value] for value in shard.values[name]), -1])
    return renumbered[shard.labels[name]]  # -1, unknown, finds the last


def _in_order(values: set[str]) -> list[str]:
    """Numbers by size, anything else by letter."""
    numbers = all(value.removeprefix("-").isdecimal() for value in values)
    return sorted(values, key=int) if numbers else sorted(values)
