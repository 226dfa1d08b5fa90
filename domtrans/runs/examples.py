"""What a finished run has made of some source test images, kept in its folder: to look at it takes neither data nor model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.data.batches import evenly
from domtrans.data.image_set import ImageSet, resize, to_float
from domtrans.errors import DomtransError
from domtrans.model.transfer import Transfer
from domtrans.runs.folder import FORMAT, check_format
from domtrans.storage.tensors import read_tensors, write_tensors

LOOKED_AT = 256
"""Source test images, evenly over the set, among which the furthest are sought."""
SHOWN = 16
"""Images that are kept of either sort."""
REAL = 2000
"""Target training images among which the nearest is sought."""
LARGEST = 128
"""Pixels of a side, at most, in which images are kept."""

PICTURES = ("source", "made", "nearest")


@dataclass(frozen=True, eq=False)
class Examples:
    """Some source images x: first those evenly over the test set, then those whose G(x) f sees as furthest from x.

    ``source``: x, ``made``: G(x), ``nearest``: the real target training image nearest to G(x) in its pixels; uint8
    [N, 1 or 3, S, S] each. ``apart``: float32 [N], 1 - cosine of f(x) and f(G(x)): 0 the same, 1 unrelated; needs no labels.
    ``labels``: the class of every x, "" where there is none. ``even``: how many were not sought out.
    ``looked_at``: of how many images the furthest are the furthest.
    """

    source: Tensor
    made: Tensor
    nearest: Tensor
    apart: Tensor
    labels: Sequence[str]
    even: int
    looked_at: int


@torch.no_grad()
def make_examples(transfer: Transfer, source: ImageSet, target: ImageSet) -> Examples:
    """Transfer images of ``source``, the test images, and seek their nearest in ``target``, the training images."""
    seen = source.take(evenly(len(source), LOOKED_AT)).kept("yes")
    made = ImageSet(transfer.apply_to(seen))
    apart = 1 - F.cosine_similarity(transfer.encoder.encode(seen), transfer.encoder.encode(made)).cpu()
    even = evenly(len(seen), SHOWN)
    others = apart.index_fill(0, even, -1.0).topk(min(SHOWN, len(seen) - len(even))).indices
    chosen = torch.cat([even, others])
    shown, drawn, real = seen.take(chosen), made.take(chosen), target.some(REAL).images.cpu()
    nearest = torch.cdist(to_float(drawn.images).flatten(1), to_float(real).flatten(1)).argmin(1)
    return Examples(
        source=_small(shown.images.cpu()),
        made=_small(drawn.images),
        nearest=_small(real[nearest]),
        apart=apart[chosen].float(),
        labels=[""] * len(shown) if shown.labels is None else [shown.classes[label] for label in shown.labels.tolist()],
        even=len(even),
        looked_at=len(seen),
    )


def write_examples(path: Path, examples: Examples) -> None:
    """Keep examples in a file. Raises DomtransError if the folder or disk does not allow it."""
    about = {"labels": list(examples.labels), "even": examples.even, "looked_at": examples.looked_at}
    tensors = {name: getattr(examples, name) for name in (*PICTURES, "apart")}
    write_tensors(path, tensors, {"format": FORMAT, "examples": json.dumps(about)})


def read_examples(path: Path) -> Examples:
    """Examples from a file; raises DomtransError if it is damaged or holds something else."""
    tensors, metadata = read_tensors(path, require_checksum=True)
    check_format(metadata, path)
    try:
        parts: dict[str, Any] = {**tensors, **json.loads(metadata["examples"])}
        examples = Examples(**parts)
        sound = _is_sound(examples)
    except (TypeError, ValueError, LookupError, RecursionError):
        sound = False
    if not sound:
        raise DomtransError(f"{path} does not hold the examples of a run; delete it, and the report does without")
    return examples


def _is_sound(examples: Examples) -> bool:
    count, numbers = len(examples.labels), (examples.even, examples.looked_at)
    pictures = [getattr(examples, name) for name in PICTURES]
    return (
        count <= 2 * SHOWN
        and all(isinstance(number, int) and number >= 0 for number in numbers)
        and all(isinstance(label, str) for label in examples.labels)
        and tuple(examples.apart.shape) == (count,)
        and examples.apart.is_floating_point()
        and all(images.dtype == torch.uint8 and images.ndim == 4 and len(images) == count for images in pictures)
        and all(images.shape[1] in (1, 3) and max(images.shape[2:]) <= LARGEST and images.numel() for images in pictures)
    )


def _small(images: Tensor) -> Tensor:
    return resize(images, min(images.shape[-1], LARGEST))
