"""``bench --curves``: time and memory of a step by batch size, image size, number of images and of decode processes."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from domtrans.benchmark.bench import (
    OURS,
    PLAIN_WITH_DATA,
    build_trainer,
    data_wait,
    environment,
    open_session,
    plain_steps,
    time_in_turns,
)
from domtrans.benchmark.tables import refusals, scaling_table
from domtrans.compute import launcher
from domtrans.data.image_files import to_pil
from domtrans.data.image_set import ImageSet
from domtrans.data.lazy_images import StoredImages
from domtrans.errors import DomtransError
from domtrans.recipe.overrides import override
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.reporting.markdown import markdown_table
from domtrans.reporting.plots import scaling_png
from domtrans.session import Listeners
from domtrans.storage.address import check_local
from domtrans.storage.atomic import write_bytes, write_json
from domtrans.training.experiment import Experiment
from domtrans.training.out_of_memory import bytes_per_image, guarded_step
from domtrans.training.trainer import Trainer
from domtrans.training.updates import images_per_step

FILES = ("growth.json", "growth.md", "growth.png")
MAX_FILE_IMAGES = 2_000
"""Images of each domain that are written to files, to be read again."""


@dataclass(frozen=True)
class Axis:
    """A quantity that is varied while everything else stays as in the recipe.

    Args:
        values: What it is set to, one after another.
        path: Path of the recipe that takes the value; empty if none does.
        images: Makes other images of a domain's: (images, value, scratch folder) -> images.
    """

    values: Sequence[int]
    path: str = ""
    images: Callable[[ImageSet, int, Path], ImageSet] = lambda images, value, scratch: images


def repeat_images(images: ImageSet, count: int, _: Path) -> ImageSet:
    """The first ``count`` images, repeated from the start if there are fewer."""
    return images.take(torch.arange(count) % len(images))


def write_to_file(images: ImageSet, _: int, scratch: Path) -> ImageSet:
    """Some of the images as PNG, one after another in one file, from which they are read again."""
    subset = images.take(torch.arange(min(len(images), MAX_FILE_IMAGES)))
    pngs = [_png(image) for block in subset.blocks() for image in to_pil(block)]
    with tempfile.NamedTemporaryFile(dir=scratch, delete=False) as file:
        file.write(b"".join(pngs))
    lengths = torch.tensor([len(png) for png in pngs])
    spans = torch.stack([torch.zeros_like(lengths), lengths.cumsum(0) - lengths, lengths], 1)
    pixels = StoredImages(str(scratch), [Path(file.name).name], spans, images.shape[-1], images.channels)
    return ImageSet(pixels, subset.labels, subset.classes, subset.about)


AXES = {
    "batch size": Axis((16, 32, 64, 128, 256), "train.batch_size"),
    "image size": Axis((32, 48, 64, 96, 128, 256), "image_size"),
    "images of each domain": Axis((500, 2_000, 8_000, 32_000), images=repeat_images),
    "processes that decode": Axis([n for n in (0, 1, 2, 4, 8) if n <= launcher.cores()], "train.workers", write_to_file),
}


def measure_scaling(
    recipe: Recipe,
    folder: Path,
    *,
    steps: int,
    device: str,
    registry: Registry,
    listeners: Listeners = (),
    axes: Mapping[str, Axis] = AXES,
) -> dict[str, Any]:
    """Time steps of domtrans and of the plain loop with its data, at every value of every axis.

    The results, a Markdown table and a chart are written to ``folder``, as ``FILES``. For a value that the parts of the
    recipe cannot handle, the results hold their error message.

    Raises:
        DomtransError: If the folder cannot be written, before anything is timed.
    """
    check_local(folder, "the folder of the curves")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DomtransError(f"the folder {folder} cannot be written: {error.strerror or error}") from None
    with open_session(recipe, device, ()) as session:
        data = {"recipe": recipe.name, "steps": steps, "batch_size": recipe.train.batch_size, **environment(recipe, session)}

    def measure(axis: Axis, value: int) -> dict[str, Any]:
        def alter(experiment: Experiment) -> Experiment:
            source, target = (axis.images(images, value, Path(scratch)) for images in (experiment.source, experiment.target))
            return replace(experiment, source=source, target=target)

        changed = override(recipe, {axis.path: value}, registry) if axis.path else recipe
        with open_session(changed, device, listeners) as session:
            trainer, setup_seconds = build_trainer(changed, registry, session, alter)
            contenders = {OURS: lambda: guarded_step(trainer), PLAIN_WITH_DATA: plain_steps(trainer)[PLAIN_WITH_DATA]}
            times = time_in_turns(contenders, steps, trainer)
            return {
                "images_in_a_step": images_per_step(changed.train),
                "setup_seconds": setup_seconds,
                "times": times,
                **memory_of_step(trainer, times[OURS]),
                **data_wait(trainer, steps),
            }

    points = data["points"] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, axis in axes.items():
            for value in axis.values:
                try:
                    point = measure(axis, value)
                except DomtransError as refusal:
                    point = {"refused": str(refusal)}
                points.append({"axis": name, "value": value, **point})
    page = "\n".join([*markdown_table(*scaling_table(data)), "", *refusals(data)]).rstrip() + "\n"
    write_json(folder / FILES[0], data)
    write_bytes(folder / FILES[1], page.encode())
    write_bytes(folder / FILES[2], scaling_png(points))
    return data


def memory_of_step(trainer: Trainer, measured: Mapping[str, Any]) -> dict[str, float]:
    """``{"memory_mb": ...}``: as measured on CUDA; elsewhere what g and D keep for the backward pass, empty if unknown."""
    kept = bytes_per_image(trainer) * trainer.micro_batch_size / 2**20
    found = measured.get("memory_mb", round(kept, 1))
    return {"memory_mb": found} if found else {}


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
