"""The domains ``folder`` and ``arrays``: grey or colour images of any size, resized when loaded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt

from domtrans import (
    Aspect,
    Attribute,
    DataPath,
    DomtransError,
    ImageSet,
    Memory,
    StoredImages,
    count_skipped,
    data_file,
    is_remote,
)
from domtrans_files.array_files import read_arrays
from domtrans_files.folder_reading import read_folder
from domtrans_files.reading import Layout, Part
from domtrans_files.splits import SPLITS, Holdout, Split, class_notes, hold_out_splits

PAGED_SUFFIXES = (".tif", ".tiff", ".gif", ".webp", ".avif", ".apng")
"""Suffixes of files that may have several pages or frames."""

ChannelCount = Annotated[int, Field(ge=2, le=64)]
ShownChannels = Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1, max_length=3)]


def arrays(
    split: Split,
    size: int,
    *,
    path: DataPath,
    images: str | None = None,
    labels: str | None = None,
    holdout: Holdout = 0.125,
    split_by: Literal["class", "order"] = "class",
    aspect: Aspect = "crop",
    value_range: tuple[float, float] | None = None,
    channels: ChannelCount | None = None,
    show_channels: ShownChannels | None = None,
) -> ImageSet:
    """Images in an .npz or .npy file: [N, H, W], [N, H, W, C] or [N, C, H, W], with or without labels [N].

    The arrays are called "images" (or x, data) and "labels" (or y, targets). Arrays such as x_train and x_test, or
    train_images and test_images, are the splits; val is the test split if there is no test. Labels are integers, whole
    floats, booleans or names.

    Args:
        path: The file, or its address, such as ``https://host/images.npz``. The cache keeps what is downloaded.
        images: Name of the array with the images, if it has another name.
        labels: Name of the array with the labels, if it has another name.
        holdout: Without splits, the share of every class that is the test split, the last in the file. They are not shuffled,
            because neighbours are often related. A class that is too small to split stays in training.
        split_by: "class" holds out the last images of every class, "order" the last images of the file whatever their class.
            Use "order" if neighbours are crops of one photograph, as in SVHN.
        aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or "squeeze".
        value_range: The values of black and white. By default, 0 and 255 of uint8; floats from 0 to 1, -1 to 1 or 0 to 255 and
            integers are recognised, and a note says how.
        channels: C, if the images are neither grey nor RGB, such as 5 bands of a satellite. Each is kept in 8 bits.
        show_channels: The channels that pictures show, counted from 1: one as grey, or three as red, green and blue. By
            default, those of grey and RGB images, the first three of others, or the first of two.

    Raises:
        DomtransError: If the file is missing or damaged, holds pickled objects, or its arrays have other shapes or types.
    """
    found = read_arrays(data_file(path), images, labels)
    words = about("arrays", path, split)
    everything = ImageSet.from_arrays(
        found.images, found.labels, size=size, about=words, aspect=aspect, value_range=value_range, channels=channels
    )
    count = len(everything)
    if found.test is None:
        parts = hold_out_splits(everything.labels if split_by == "class" else None, count, holdout, split, path)
    else:
        parts = {"train": torch.arange(count - found.test), "test": torch.arange(count - found.test, count)}
    notes = [*found.notes, *everything.notes, *shown_notes(everything.channels, show_channels)]
    if everything.labels is not None:
        share = holdout if found.test is None and split_by == "class" else None
        notes += class_notes(everything.labels, everything.classes, parts["train"], parts["test"], share)
    return replace(everything.take(parts[split]), notes=tuple(notes), shown=positions(show_channels, everything.channels))


def folder(
    split: Split,
    size: int,
    *,
    path: DataPath | None = None,
    layout: Layout = "auto",
    part: Part | None = None,
    labels: str | None = None,
    holdout: Holdout = 0.125,
    grey: bool = False,
    memory: Memory = "auto",
    aspect: Aspect = "crop",
    max_pixels: NonNegativeInt | None = None,
    channels: ChannelCount | None = None,
    show_channels: ShownChannels | None = None,
) -> ImageSet:
    """Image files under a folder: a subfolder for every class, subfolders train and test, a label file, or plain images.

    The layout is recognised: subfolders such as train, val and test in any case; trainA, trainB, testA and testB; class
    folders, whose order is that of ``classes.txt`` if there is one; label files as CSV, TSV, JSON or lines, whose further
    columns are attributes. A folder that can be read in several ways is refused, with the ways to choose from.

    Args:
        path: The folder; it must be given.
        layout: "classes": every subfolder is a class. "splits": subfolders train and test, or val. "flat": all images,
            without classes. "labels": a label file. "pairs": two domains, such as trainA and trainB. "auto" recognises it.
        part: Which of two domains to read.
        labels: The label file, relative to the folder; by default the one that names images.
        holdout: Without splits, the share of every class that is the test split, the last by file name. A class that is too
            small to split stays in training.
        grey: Read the images as one channel.
        memory: "yes" loads the images into memory, "no" reads them when needed, "auto" loads up to 1 GiB of pixels.
        aspect: How images that are not square become square: "crop" to the centre, "pad" with the border pixels, or "squeeze".
        max_pixels: Limit of an image's width times height; 0: none; by default that of DOMTRANS_MAX_PIXELS, or Pillow's.
        channels: The number of channels, if the images are neither grey nor RGB: TIFF files with a page for each channel, or
            images with so many bands, such as 4 of RGBA. Each is kept in 8 bits.
        show_channels: The channels that pictures show, counted from 1, as in the domain ``arrays``.

    Raises:
        DomtransError: If the folder is missing, empty, or can be read in several ways, or more than 1 % of the images cannot
            be read.
    """
    if not path:
        raise DomtransError("the domain 'folder' needs a folder; give it with source.path=FOLDER or target.path=FOLDER")
    if is_remote(path):
        raise DomtransError(
            f"{path} is an address, and the domain 'folder' reads local folders only; download the folder, or pack it into tar "
            "files for the domain 'webdataset'"
        )
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DomtransError(
            f"{root} is a file, not a folder{_advice(root)}" if root.is_file() else f"there is no folder {root}"
        )
    read_channels = channels_to_read(channels, grey=grey)
    found = read_folder(root, layout, part, labels)
    targets = found.labels
    if found.reading.splits:
        parts = {name: found.split(name) for name in SPLITS}
        if not len(parts[split]):
            raise DomtransError(f"there are no images for the {split} split in {root}")
    else:
        parts = hold_out_splits(targets, len(found.files), holdout, split, path)
    index, notes = parts[split], found.notes
    if targets is not None:
        share = None if found.reading.splits else holdout
        notes += class_notes(targets, found.reading.classes, parts["train"], parts["test"], share)
    base, files = str(root.absolute()), found.files

    def stored(names: list[str]) -> StoredImages:
        spans = torch.tensor([(k, 0, _size_in_bytes(os.path.join(base, name))) for k, name in enumerate(names)])  # noqa: PTH118
        return StoredImages(base, names, spans, size, read_channels, aspect=aspect, max_pixels=max_pixels)

    if paged := [name for name in files if name.lower().endswith(PAGED_SUFFIXES)]:
        notes += stored(paged).page_notes()
    attributes = {name: Attribute(known.values, known.index[index]) for name, known in found.attributes.items()}
    images = ImageSet(
        stored([files[i] for i in index.tolist()]),
        None if targets is None else targets[index],
        found.reading.classes,
        about("folder", path, split),
        attributes,
        (*notes, *shown_notes(read_channels, show_channels)),
        shown=positions(show_channels, read_channels),
        skipped=count_skipped(found.skipped),
    )
    return images.kept(memory)


def _advice(file: Path) -> str:
    """How a file is read that was given as a folder."""
    name = file.name.lower()
    if name.endswith((".npz", ".npy")):
        return "; the domain 'arrays' reads it"
    if name.endswith(".tar"):
        return "; the domain 'webdataset' reads it"
    return "; unpack it first" if name.endswith((".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")) else ""


def channels_to_read(channels: int | None, *, grey: bool) -> int:
    """The channels that image files are read with. Raises DomtransError for options that contradict each other."""
    if grey and channels is not None:
        raise DomtransError("grey=true reads one channel, so leave out channels, or grey")
    return channels or (1 if grey else 3)


def positions(show_channels: list[int] | None, channels: int) -> tuple[int, ...]:
    """Channels that are counted from 1, as ``ImageSet.shown`` counts them. Raises DomtransError unless the images have them."""
    shown = show_channels or []
    if len(shown) == 2 or any(number > channels for number in shown):
        raise DomtransError(f"show_channels must be 1 or 3 of the {channels} channels, counted from 1, not {shown}")
    return tuple(number - 1 for number in shown)


def shown_notes(channels: int, show_channels: list[int] | None) -> list[str]:
    """A note about what pictures show of images that have channels which they do not show."""
    if channels in (1, 3) and not show_channels:
        return []
    shown = show_channels or ([1, 2, 3] if channels > 3 else [1])
    which = f"channel {shown[0]}" if len(shown) == 1 else "channels " + ", ".join(map(str, shown))
    return [f"pictures show {which} of {channels}"]


def about(kind: str, path: str, split: str) -> str:
    """One line that says what a set is."""
    return f"{kind} {path}, {split} split"


def _size_in_bytes(file: str) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116 - once for each file of a large folder
    except OSError as error:
        raise DomtransError(f"{file} cannot be read: {error.strerror}") from None
