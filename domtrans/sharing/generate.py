"""``generate``: a labelled set of target images, made by transferring labelled source images, as other programs read it.

A classifier that learns from it has seen no label of the target: unsupervised domain adaptation (section 5.1 of the paper).
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

from domtrans.data.domains import load_domain
from domtrans.data.image_files import to_pil
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.runs.folder import versions
from domtrans.runs.provenance import credits_of
from domtrans.runs.run import Run, as_run
from domtrans.storage.atomic import new_folder

BLOCK = 256
"""Images transferred at once."""
SHARD = 10_000
"""Images of a tar file."""


@dataclass(frozen=True)
class Generated:
    """A folder of transferred images: how many, of which classes, and the attributes that they carry."""

    folder: Path
    count: int
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    """Written in the format "webdataset" alone."""


@dataclass(frozen=True)
class Labelled:
    """A transferred image with what its source image was labelled with; None and empty where that is not known."""

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
) -> Generated:
    """Transfer the source images of a run's recipe and write them, as PNG, with the source's labels.

    ``folder``: new or empty. ``format``: "imagefolder", as torchvision reads it: ``CLASS/000001.png``, or ``000001.png``
    where there are no classes; "webdataset": tar shards of 10,000 with ``KEY.png``, ``KEY.cls`` (the number of the class)
    and ``KEY.json`` (class and attributes by name). ``about.json`` says what the set was made from. ``split``: of the source,
    "train" or "test". ``count``: at most so many, evenly over the split. All of it is written, or nothing.
    Raises DomtransError if the data is not there, the folder holds something, or a class cannot name a folder.
    """
    run, folder = as_run(run), Path(folder)
    if format not in FORMATS or split not in ("train", "test") or (count is not None and count < 1):
        raise DomtransError(
            f"a set is generated with format {' or '.join(FORMATS)}, split train or test and a count of 1 or more, not with "
            f"{format}, {split} and {count}"
        )
    source = load_domain(run.registry, run.recipe.source, split, run.recipe.image_size)
    if count is not None and count < len(source):
        source = source.take(torch.linspace(0, len(source) - 1, count).long())
    with new_folder(folder) as place:
        FORMATS[format](place, source, transferred(run, source))
        (place / "about.json").write_text(json.dumps(_about(run, source, split), indent=2) + "\n", encoding="utf-8")
    return Generated(folder, len(source), source.classes, tuple(source.attributes))


def transferred(run: Run, source: ImageSet) -> Iterator[Labelled]:
    """G of every image of a set, in order."""
    session = run.session.during("generate")
    for index in torch.arange(len(source)).split(BLOCK):
        session.progress(int(index[0]), len(source))
        images = to_pil(run.transfer(source.batch(index)))
        for number, image in zip(index.tolist(), images, strict=True):
            label = None if source.labels is None else int(source.labels[number])
            known = {name: of.values[i] for name, of in source.attributes.items() if (i := int(of.index[number])) >= 0}
            yield Labelled(number, image, label, known)
    session.progress(len(source), len(source))


def write_imagefolder(folder: Path, source: ImageSet, images: Iterator[Labelled]) -> None:
    """``CLASS/000001.png``; raises DomtransError for a class whose name cannot be a folder's."""
    _check_names(source.classes)
    for name in source.classes:
        (folder / name).mkdir()
    for one in images:
        place = folder if one.label is None else folder / source.classes[one.label]
        one.image.save(place / f"{one.number:06d}.png")


def write_webdataset(folder: Path, source: ImageSet, images: Iterator[Labelled]) -> None:
    """``shard-000000.tar`` and so on, and ``vocabulary.json``, which fixes the order of classes and values."""
    vocabulary = {"class": source.classes} if source.classes else {}
    vocabulary |= {name: of.values for name, of in source.attributes.items()}
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, indent=2) + "\n", encoding="utf-8")
    for shard in range(-(-len(source) // SHARD)):
        with tarfile.open(folder / f"shard-{shard:06d}.tar", "w") as tar:
            for one in islice(images, SHARD):
                for kind, content in _members(one, source.classes):
                    member = tarfile.TarInfo(f"{one.number:08d}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


FORMATS: dict[str, Callable[[Path, ImageSet, Iterator[Labelled]], None]] = {
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
}


def _members(one: Labelled, classes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    encoded = io.BytesIO()
    one.image.save(encoded, "PNG")
    yield "png", encoded.getvalue()
    said: dict[str, Any] = {}
    if one.label is not None:
        yield "cls", str(one.label).encode()
        said["class"] = classes[one.label]
    if one.attributes:
        said["attributes"] = one.attributes
    if said:
        yield "json", json.dumps(said).encode()


def _check_names(classes: tuple[str, ...]) -> None:
    """Raise DomtransError unless each can name a folder of its own, on any system."""
    for name in classes:
        if name in ("", ".", "..") or name.startswith(".") or not name.isprintable() or set(name) & set('/\\:*?"<>|'):
            raise DomtransError(f"the class '{name[:100]}' cannot name a folder; use the format webdataset")
    alike = [name for name, times in Counter(name.casefold() for name in classes).items() if times > 1]
    if alike:
        raise DomtransError(f"two classes are both '{alike[0]}' where case does not count; use the format webdataset")


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
