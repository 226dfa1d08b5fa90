"""Example images of a finished run, kept in its folder, so that a report needs neither data nor model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.data.aspect import resize
from domtrans.data.batches import evenly
from domtrans.data.grid import show_channels
from domtrans.data.image_set import ImageSet, to_float
from domtrans.errors import DomtransError
from domtrans.model.transfer import Transfer
from domtrans.runs.folder import FORMAT, check_format
from domtrans.storage.tensors import read_tensors, write_tensors

SEARCHED_IMAGES = 256
"""Source test images, evenly spread, among which the worst are selected."""
EXAMPLES_OF_A_KIND = 16
"""Images that are evenly spread, and images that are the worst."""
MAX_TARGET_IMAGES = 2000
"""Target training images among which the nearest is selected."""
MAX_SLOTS = 1000
MAX_SIDE = 128
"""Largest side of the images that are kept, in pixels."""

IMAGE_TENSORS = {"source": "source", "generated": "made", "nearest": "nearest"}
"""The fields that are images, and the names of their tensors in the file."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Source test images with G(x): first evenly spread ones, then those whose features G changes most.

    Attributes:
        source: x, uint8 [N, 1 or 3, S, S].
        generated: G(x), likewise.
        nearest: The target training image that is nearest to G(x) in its pixels, likewise.
        distance: float32 [N], 1 - cosine of f(x) and f(G(x)), maps flattened: 0 equal, 1 unrelated. It needs no labels.
        labels: The class of each x; "" without labels.
        even: Number of the evenly spread ones.
        searched: Number of images among which the others have the largest distance.
        parameters: The parameters of each G(x), the value of every slot; empty if G draws pixels.
    """

    source: Tensor
    generated: Tensor
    nearest: Tensor
    distance: Tensor
    labels: Sequence[str]
    even: int
    searched: int
    parameters: Sequence[Mapping[str, str]] = ()


@torch.no_grad()
def make_examples(transfer: Transfer, source: ImageSet, target: ImageSet) -> Examples:
    """Transfer images of ``source`` (test images), and find the nearest images in ``target`` (training images)."""
    searched = source.take(evenly(len(source), SEARCHED_IMAGES)).kept("yes")
    generated = ImageSet(transfer.apply_to(searched))
    before, after = (transfer.encoder.encode(images).flatten(1) for images in (searched, generated))
    distance = 1 - F.cosine_similarity(before, after).cpu()
    even = evenly(len(searched), EXAMPLES_OF_A_KIND)
    worst = distance.index_fill(0, even, -1.0).topk(min(EXAMPLES_OF_A_KIND, len(searched) - len(even))).indices
    selected = torch.cat([even, worst])
    inputs, outputs, real = searched.take(selected), generated.take(selected), target.some(MAX_TARGET_IMAGES).images.cpu()
    nearest = torch.cdist(to_float(outputs.images).flatten(1), to_float(real).flatten(1)).argmin(1)
    return Examples(
        source=_small(show_channels(inputs.images.cpu(), source.shown)),
        generated=_small(show_channels(outputs.images, target.shown)),
        nearest=_small(show_channels(real[nearest], target.shown)),
        distance=distance[selected].float(),
        labels=[""] * len(inputs) if inputs.labels is None else [inputs.classes[label] for label in inputs.labels.tolist()],
        even=len(even),
        searched=len(searched),
        parameters=transfer.parameters_of(inputs),
    )


def write_examples(path: Path, examples: Examples) -> None:
    """Write examples to a file.

    Raises:
        DomtransError: If the file cannot be written.
    """
    about: dict[str, Any] = {"labels": list(examples.labels), "even": examples.even, "looked_at": examples.searched}
    about |= {"parameters": list(examples.parameters)} if examples.parameters else {}
    tensors = {name: getattr(examples, field) for field, name in IMAGE_TENSORS.items()} | {"apart": examples.distance}
    write_tensors(path, tensors, {"format": FORMAT, "examples": json.dumps(about)})


def read_examples(path: Path) -> Examples:
    """Read examples from a file.

    Raises:
        DomtransError: If it is damaged or holds something else.
    """
    tensors, metadata = read_tensors(path, require_checksum=True)
    check_format(metadata, path)
    try:
        about: dict[str, Any] = json.loads(metadata["examples"])
        images = {field: tensors[name] for field, name in IMAGE_TENSORS.items()}
        examples = Examples(
            **images,
            distance=tensors["apart"],
            labels=about["labels"],
            even=about["even"],
            searched=about["looked_at"],
            parameters=about.get("parameters", ()),
        )
        valid = _is_valid(examples)
    except (TypeError, ValueError, LookupError, RecursionError):
        valid = False
    if not valid:
        raise DomtransError(f"{path} does not hold the examples of a run; delete it, and the report leaves them out")
    return examples


def _is_valid(examples: Examples) -> bool:
    count, numbers = len(examples.labels), (examples.even, examples.searched)
    image_tensors = [getattr(examples, field) for field in IMAGE_TENSORS]
    return (
        count <= 2 * EXAMPLES_OF_A_KIND
        and all(isinstance(number, int) and number >= 0 for number in numbers)
        and all(isinstance(label, str) for label in examples.labels)
        and _are_parameters(examples.parameters, count)
        and tuple(examples.distance.shape) == (count,)
        and examples.distance.is_floating_point()
        and all(images.dtype == torch.uint8 and images.ndim == 4 and len(images) == count for images in image_tensors)
        and all(images.shape[1] in (1, 3) and max(images.shape[2:]) <= MAX_SIDE and images.numel() for images in image_tensors)
    )


def _are_parameters(parameters: Any, count: int) -> bool:
    return (
        isinstance(parameters, list | tuple)
        and len(parameters) in (0, count)
        and all(isinstance(each, dict) and len(each) <= MAX_SLOTS for each in parameters)
        and all(isinstance(value, str) for each in parameters for value in each.values())
    )


def _small(images: Tensor) -> Tensor:
    return resize(images, min(images.shape[-1], MAX_SIDE))
