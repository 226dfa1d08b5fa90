"""The domain ``webdataset``: any number of images in tar shards, read in random order without extracting them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat, takewhile

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from domtrans import (
    Aspect,
    Attribute,
    Cache,
    DataFile,
    DataPath,
    DomtransError,
    ImageSet,
    Memory,
    StoredImages,
    class_list,
    is_remote,
    list_names,
    natural_key,
)
from domtrans_files.domains import ChannelCount, ShownChannels, about, channels_to_read, positions, shown_notes
from domtrans_files.shard_files import find_shards, find_split_shards, read_vocabulary
from domtrans_files.shards import CLASS_LABEL, Shard, read_shard
from domtrans_files.splits import Holdout, Split, class_notes, hold_out_splits

DOWNLOADS = 8
"""Remote shards that are read at a time."""

Labels = tuple[tuple[str, ...], Tensor | None, dict[str, Attribute]]
"""The classes, the labels (int64 [N] or None) and the attributes."""


def webdataset(
    split: Split,
    size: int,
    *,
    path: DataPath,
    test_path: DataPath | None = None,
    holdout: Holdout = 0.02,
    grey: bool = False,
    memory: Memory = "auto",
    block: PositiveInt = 1,
    aspect: Aspect = "crop",
    max_pixels: NonNegativeInt | None = None,
    channels: ChannelCount | None = None,
    show_channels: ShownChannels | None = None,
) -> ImageSet:
    """Images in WebDataset tar shards: members ``KEY.png``, ``.jpg`` and other formats, with ``KEY.json`` or ``KEY.cls``.

    A ``KEY.json`` is ``{"class": "cat", "attributes": {"hair_colour": "brown"}}``, where either entry may be missing. A
    ``KEY.cls`` is a class. ``KEY.left.png`` has the labels of ``KEY.left.cls`` or ``KEY.cls``; beside ``KEY.png`` and without
    labels of its own, it is a further image of the sample and skipped. In a folder, shards such as ``train-000.tar`` and
    ``test-000.tar`` are the splits. A file ``vocabulary.json`` beside the shards,
    ``{"hair_colour": ["black", "brown"]}``, sets the values of each label and their order; without it, these are the values
    that occur. Each shard is scanned once; the cache stores the result, and what is downloaded of remote shards.

    Args:
        path: The shards, e.g. ``data/train-{000..099}.tar``, or a folder of shards. Both may be an address, such as
            ``s3://bucket/train-{000..099}.tar``.
        test_path: The shards of the test split.
        holdout: Without a test split, the share of every class that is the test split, the last ones.
        grey: Read the images as one channel.
        memory: "yes" loads the images into memory, "no" reads them when needed, "auto" loads up to 1 GiB of pixels.
        block: Neighbours in a shard that stay together in every shuffle, for a disk that is slow to seek.
        aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or "squeeze".
        max_pixels: Limit of an image's width times height; 0: none; by default that of DOMTRANS_MAX_PIXELS, or Pillow's.
        channels: The number of channels, if the images are neither grey nor RGB, as in the domain ``folder``.
        show_channels: The channels that pictures show, counted from 1, as in the domain ``arrays``.

    Raises:
        DomtransError: If a shard is missing, compressed or damaged, or labels do not fit together.
    """
    read_channels = channels_to_read(channels, grey=grey)
    if test_path is None:
        train_files, test_files, notes = find_split_shards(path)
    elif is_remote(path) != is_remote(test_path):
        raise DomtransError(f"{path} and {test_path} must both be local, or both be addresses")
    else:
        train_files, test_files, notes = find_shards(path), find_shards(test_path), []
    files = train_files + (test_files or [])
    shards = _read_shards(files)
    root, names, spans = _join_spans(files, shards)
    notes += _describe_skipped(shards)
    if not len(spans):
        skipped = "".join(f"; {note}" for note in notes)
        raise DomtransError(f"there are no images in the {len(files)} shards of {path}; members are e.g. 00000000.png{skipped}")
    classes, labels, attributes = _join_labels(files, shards, read_vocabulary(files[0]), path)
    count = len(spans)
    if test_files is None:
        parts = hold_out_splits(labels, count, holdout, split, path)
    else:
        border = sum(len(shard.spans) for shard in shards[: len(train_files)])
        parts = {"train": torch.arange(border), "test": torch.arange(border, count)}
        if not len(parts[split]):
            raise DomtransError(
                f"there are no images for the {split} split in {path if split == 'train' else test_path or path}"
            )
    if labels is None:
        notes += _describe_folders(shards)
    else:
        notes += class_notes(labels, classes, parts["train"], parts["test"], holdout if test_files is None else None)
    remote = {file.address: file for file in files if is_remote(file.address)}
    notes += shown_notes(read_channels, show_channels)
    stored = StoredImages(root, names, spans, size, read_channels, block, aspect=aspect, max_pixels=max_pixels, remote=remote)
    notes += stored.page_notes()
    words, shown = about("webdataset", path, split), positions(show_channels, read_channels)
    images = ImageSet(stored, labels, classes, words, attributes, tuple(notes), shown=shown)
    return images.take(parts[split]).kept(memory)


def _read_shards(files: Sequence[DataFile]) -> list[Shard]:
    """The shards; of remote ones, several are read at a time."""
    cache = Cache()
    if not is_remote(files[0].address):
        return [read_shard(file, cache) for file in files]
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        return list(pool.map(read_shard, files, repeat(cache)))


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


def _describe_folders(shards: Sequence[Shard]) -> list[str]:
    """A sentence about images without classes that are in folders, or nothing."""
    folders = {name for shard in shards for name in shard.folders}
    if len(folders) < 2 or not all(shard.folders for shard in shards):
        return []
    names = list_names(sorted(folders, key=natural_key))
    return [f"the images have no classes; the folders in the shards ({names}) are not read as classes, which need .cls members"]


def _join_spans(files: Sequence[DataFile], shards: Sequence[Shard]) -> tuple[str, list[str], Tensor]:
    """The common folder of the shards, their paths relative to it, and the location of every image, int64 [N, 3]."""
    remote = is_remote(files[0].address)
    paths = [file.address if remote else os.path.abspath(file.address) for file in files]  # noqa: PTH100 - keeps links
    folders = [path.rpartition("/" if remote else os.sep)[0] for path in paths]
    root = _common_address(folders) if remote else os.path.commonpath(folders)
    spans = [torch.cat([torch.full((len(shard.spans), 1), i), shard.spans], 1) for i, shard in enumerate(shards)]
    return root, [path[len(root) + 1 :] if remote else os.path.relpath(path, root) for path in paths], torch.cat(spans)


def _common_address(folders: Sequence[str]) -> str:
    """The folder that holds all of these folders, without a slash at the end."""
    same = takewhile(lambda names: len(set(names)) == 1, zip(*(folder.split("/") for folder in folders), strict=False))
    return "/".join(names[0] for names in same)


def _join_labels(files: Sequence[DataFile], shards: Sequence[Shard], vocabulary: Mapping[str, list[str]], where: str) -> Labels:
    """The classes, labels and attributes of all images; ``where`` is for error messages."""
    names = sorted({name for shard in shards for name in shard.values} | set(vocabulary))
    attributes = {}
    for name in names:
        values = vocabulary.get(name) or class_list(value for shard in shards for value in shard.values.get(name, ()))
        index = torch.cat([_label_index(file, shard, name, values) for file, shard in zip(files, shards, strict=True)])
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


def _label_index(file: DataFile, shard: Shard, name: str, values: Sequence[str]) -> Tensor:
    """A shard's label of one name as an index into ``values``, int64 [n]; -1 if it is unknown."""
    if name not in shard.values:
        return torch.full((len(shard.spans),), -1)
    position = {value: i for i, value in enumerate(values)}
    unknown = [value for value in shard.values[name] if value not in position]
    if unknown:
        raise DomtransError(
            f"{file.address} has the {name} '{unknown[0]}', which vocabulary.json does not list; it lists "
            f"{', '.join(values)[:200]}"
        )
    positions = torch.tensor([*(position[value] for value in shard.values[name]), -1])
    return positions[shard.labels[name]]  # an unknown label is -1 and selects the last entry, also -1
