"""``bench --curves``: how the time of a step grows with the batch, the images, the data set, and the processes that decode."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from domtrans.benchmark.bench import LOADED, OURS, plain_steps, race, session_of, set_up, surroundings, waits
from domtrans.benchmark.tables import growth_table, refusals
from domtrans.compute import torchrun
from domtrans.data.image_files import to_pil
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.errors import DomtransError
from domtrans.recipe.overrides import override
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.reporting.plots import growth_png
from domtrans.session import Listener
from domtrans.storage.atomic import write_bytes, write_json
from domtrans.studies.markdown import markdown_table
from domtrans.training.experiment import Experiment
from domtrans.training.out_of_memory import take_step

FILES = ("growth.json", "growth.md", "growth.png")
WRITTEN = 2_000
"""Images of each domain that are written to files, at most, to be read again."""


@dataclass(frozen=True)
class Axis:
    """Something that is varied while all else stays as the recipe has it.

    ``path``: where the recipe takes the value, if it does. ``images``: (images, value, scratch folder) -> what each domain
    gives instead.
    """

    values: Sequence[int]
    path: str = ""
    images: Callable[[ImageSet, int, Path], ImageSet] = lambda images, value, scratch: images


def repeated(images: ImageSet, count: int, _: Path) -> ImageSet:
    """Some of the images, or all of them over and over."""
    return images.take(torch.arange(count) % len(images))


def from_files(images: ImageSet, _: int, scratch: Path) -> ImageSet:
    """Some of the images as PNG pictures in a file, one behind the other, from which they are read again."""
    few = images.take(torch.arange(min(len(images), WRITTEN)))
    pictures = [_png(picture) for block in few.blocks() for picture in to_pil(block)]
    with tempfile.NamedTemporaryFile(dir=scratch, delete=False) as file:
        file.write(b"".join(pictures))
    lengths = torch.tensor([len(picture) for picture in pictures])
    spans = torch.stack([torch.zeros_like(lengths), lengths.cumsum(0) - lengths, lengths], 1)
    pixels = StoredImages(str(scratch), [Path(file.name).name], spans, images.shape[-1], images.channels)
    return ImageSet(pixels, few.labels, few.classes, few.about)


AXES = {
    "batch size": Axis((16, 32, 64, 128, 256), "train.batch_size"),
    "image size": Axis((32, 48, 64, 96, 128), "image_size"),
    "images of each domain": Axis((500, 2_000, 8_000, 32_000), images=repeated),
    "processes that decode": Axis([n for n in (0, 1, 2, 4, 8) if n <= torchrun.cores()], "train.workers", from_files),
}


def curves(
    recipe: Recipe,
    folder: Path,
    *,
    steps: int,
    device: str,
    registry: Registry,
    listeners: tuple[Listener, ...] = (),
    axes: Mapping[str, Axis] = AXES,
) -> dict[str, Any]:
    """Time ``steps`` steps of domtrans and of the plain loop with its data at every value of every axis.

    Writes the figures, a Markdown table and a chart into ``folder`` (``FILES``) and returns the figures. A value that the
    recipe's networks are not built for is kept with the reason, in their words.
    Raises DomtransError if the folder cannot be written, before anything is timed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DomtransError(f"the folder {folder} cannot be written: {error.strerror or error}") from None
    with session_of(recipe, device, ()) as session:
        data = {"recipe": recipe.name, "steps": steps, "batch_size": recipe.train.batch_size, **surroundings(recipe, session)}

    def measured(axis: Axis, value: int) -> dict[str, Any]:
        def alter(found: Experiment) -> Experiment:
            source, target = (axis.images(images, value, Path(scratch)) for images in (found.source, found.target))
            return replace(found, source=source, target=target)

        there = override(recipe, {axis.path: value}, registry) if axis.path else recipe
        with session_of(there, device, listeners) as session:
            trainer, setup = set_up(there, registry, session, alter)
            times = race({OURS: lambda: take_step(trainer), LOADED: plain_steps(trainer)[LOADED]}, steps, trainer)
            images = 2 * there.train.batch_size
            return {"images_in_a_step": images, "setup_seconds": setup, "times": times, **waits(trainer, steps)}

    points = data["points"] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, axis in axes.items():
            for value in axis.values:
                try:
                    found = measured(axis, value)
                except DomtransError as refusal:
                    found = {"refused": str(refusal)}
                points.append({"axis": name, "value": value, **found})
    page = "\n".join([*markdown_table(*growth_table(data)), "", *refusals(data)]).rstrip() + "\n"
    write_json(folder / FILES[0], data)
    write_bytes(folder / FILES[1], page.encode())
    write_bytes(folder / FILES[2], growth_png(points))
    return data


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
