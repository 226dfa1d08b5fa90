"""``generate``: a labelled set of target images, made by transferring labelled source images.

A classifier trained on it has used no label of the target: unsupervised domain adaptation (section 5.1 of the paper).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from domtrans.data.batches import evenly
from domtrans.data.domains import load_domain
from domtrans.data.image_files import to_pil
from domtrans.data.image_scan import SYSTEM_NAMES
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.progress.display import session_with_display
from domtrans.runs.folder import versions
from domtrans.runs.load import as_run
from domtrans.runs.provenance import credits_of
from domtrans.runs.run import Run
from domtrans.session import Session
from domtrans.storage.address import check_local
from domtrans.storage.atomic import new_folder

BATCH_SIZE = 256
"""Images transferred at once."""
SHARD_IMAGES = 10_000
"""Images per tar file."""


@dataclass(frozen=True)
class Generated:
    """A folder of transferred images.

    Attributes:
        folder: The folder.
        count: Number of images.
        classes: Names of the classes; empty if the source has no labels.
        attributes: Names of the attributes. Only the format "webdataset" stores their values.
    """

    folder: Path
    count: int
    classes: tuple[str, ...]
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class LabelledImage:
    """A transferred image with the labels of its source image.

    Attributes:
        number: Position in the source set.
        image: The image.
        label: Index of the class, if known.
        attributes: Values of the known attributes, by name.
    """

    number: int
    image: Image.Image
    label: int | None
    attributes: dict[str, str]


def generate(
    run: Run | str | Path,
    folder: str | Path,
    *,
    format: str = "imagefolder",
    split: str = "train",
    count: int | None = None,
    progress: bool | None = None,
) -> Generated:
    """Transfer the source images of a run's recipe and write them, as PNG, with the source's labels.

    The folder is written whole or not at all. Its ``about.json`` says which model made it from which data.

    Args:
        run: A run or its folder.
        folder: A new or empty folder.
        format: "imagefolder": ``CLASS/000001.png``, or ``000001.png`` without classes, as torchvision reads it, and
            ``classes.txt`` with the classes in order.
            "webdataset": tar shards of 10,000 images with ``KEY.png``, ``KEY.cls`` (the index of the class) and ``KEY.json``
            (class and attributes by name).
        split: Split of the source: "train" or "test".
        count: Number of images at most, evenly spread over the split.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.

    Returns:
        What was written.

    Raises:
        DomtransError: If the data is missing, the folder is not empty, or a class name cannot be a folder name.
    """
    check_local(folder, "a folder that is written")
    run, folder = as_run(run), Path(folder)
    if format not in WRITERS:
        raise DomtransError(f"the format '{format}' is not supported; choose {', '.join(WRITERS)}")
    if split not in ("train", "test"):
        raise DomtransError(f"there is no split '{split}'; choose train or test")
    if count is not None and count < 1:
        raise DomtransError(f"count={count} is out of range; it must be at least 1")
    source = load_domain(run.registry, run.recipe.source, split, run.recipe.image_size)
    if count is not None and count < len(source):
        source = source.take(evenly(len(source), count))
    with new_folder(folder) as unfinished, session_with_display(run.session, progress) as session:
        WRITERS[format](unfinished, source, transfer_set(run, source, session.during("generate")))
        (unfinished / "about.json").write_text(json.dumps(_about(run, source, split), indent=2) + "\n", encoding="utf-8")
    return Generated(folder, len(source), source.classes, tuple(source.attributes))


def transfer_set(run: Run, source: ImageSet, session: Session) -> Iterator[LabelledImage]:
    """G of every image of a set, in order."""
    for index in torch.arange(len(source)).split(BATCH_SIZE):
        session.progress(int(index[0]), len(source))
        images = to_pil(run.transfer(source.batch(index)))
        for number, image in zip(index.tolist(), images, strict=True):
            label = None if source.labels is None else int(source.labels[number])
            known = {name: of.values[i] for name, of in source.attributes.items() if (i := int(of.index[number])) >= 0}
            yield LabelledImage(number, image, label, known)
    session.progress(len(source), len(source))


def write_imagefolder(folder: Path, source: ImageSet, images: Iterator[LabelledImage]) -> None:
    """Write ``CLASS/000001.png`` and ``classes.txt``. Raises DomtransError for a class name that cannot be a folder name."""
    _check_folder_names(source.classes)
    for name in source.classes:
        (folder / name).mkdir()
    if source.classes:
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in source.classes), encoding="utf-8")
    for item in images:
        class_folder = folder if item.label is None else folder / source.classes[item.label]
        item.image.save(class_folder / f"{item.number:06d}.png")


def write_webdataset(folder: Path, source: ImageSet, images: Iterator[LabelledImage]) -> None:
    """Write ``shard-000000.tar`` and so on, and ``vocabulary.json``, which fixes the order of classes and values."""
    vocabulary = {"class": source.classes} if source.classes else {}
    vocabulary |= {name: of.values for name, of in source.attributes.items()}
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, indent=2) + "\n", encoding="utf-8")
    for shard in range(-(-len(source) // SHARD_IMAGES)):
        with tarfile.open(folder / f"shard-{shard:06d}.tar", "w") as tar:
            for item in islice(images, SHARD_IMAGES):
                for suffix, content in _tar_members(item, source.classes):
                    member = tarfile.TarInfo(f"{item.number:08d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


WRITERS: dict[str, Callable[[Path, ImageSet, Iterator[LabelledImage]], None]] = {
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
}
"""By format."""


def _tar_members(item: LabelledImage, classes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """``(suffix, content)`` of each file of an image."""
    encoded = io.BytesIO()
    item.image.save(encoded, "PNG")
    yield "png", encoded.getvalue()
    labels: dict[str, Any] = {}
    if item.label is not None:
        yield "cls", str(item.label).encode()
        labels["class"] = classes[item.label]
    if item.attributes:
        labels["attributes"] = item.attributes
    if labels:
        yield "json", json.dumps(labels).encode()


def _check_folder_names(classes: tuple[str, ...]) -> None:
    """Raise DomtransError unless each class can be a folder name on every system."""
    for name in classes:
        if (
            name.lower() in {"", ".", "..", *SYSTEM_NAMES}
            or name.strip() != name
            or name.startswith(".")
            or not name.isprintable()
            or set(name) & set('/\\:*?"<>|')
        ):
            raise DomtransError(f"the class '{name[:100]}' cannot be a folder name; use the format webdataset")
    repeated = [name for name, uses in Counter(name.casefold() for name in classes).items() if uses > 1]
    if repeated:
        raise DomtransError(
            f"two classes would share the folder '{repeated[0]}' where case is ignored; use the format webdataset"
        )


def _about(run: Run, source: ImageSet, split: str) -> dict[str, Any]:
    """Where the set comes from, as plain values."""
    return {
        "made_by": f"domtrans {versions()['domtrans']}",
        "recipe": run.recipe.name,
        "model_sha256": hashlib.sha256(run.file.read_bytes()).hexdigest(),
        "source": source.about or run.recipe.source.name,
        "split": split,
        "count": len(source),
        "classes": source.classes,
        "credits": dict(credits_of(run.recipe, run.registry)),
    }
