"""``export``: G from pixels to pixels in one file that runs without domtrans, compared with the original on real images."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet, to_channels, to_float, to_uint8
from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import measure, with_other_data
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe
from domtrans.runs.folder import versions
from domtrans.runs.run import Run, as_run
from domtrans.sharing import onnx_graph
from domtrans.storage.atomic import write_bytes

Precision = Literal["float32", "fp16", "int8"]
Runner = Callable[[np.ndarray], np.ndarray]
"""Pixels of source images, uint8 [N, H, W, 3], to pixels of target images, uint8 [N, H, W, C]."""

COMPARED = 256
"""Source test images, evenly over the set, that both are given."""
CALIBRATED = 256
"""Source training images, evenly over the set, that int8 takes its ranges from."""
NOT_OF_G = ("encoder_accuracy", "evaluator_accuracy")
"""Figures of f and of an evaluator by themselves, in which the file has no part."""
TOLERANCE = 1
"""Levels of 255 that a float32 file may be off: a sum in another order can fall on the other side of a rounding."""


@dataclass(frozen=True)
class Exported:
    """The file, and how it compares with the original in PyTorch.

    ``opset``: of an ONNX file. ``images``: how many both were given. ``most``, ``mean``: by how many levels of 255 their
    pixels differ. ``before``, ``after``: for fp16 and int8, the figures of the recipe's metrics for PyTorch and for the file.
    """

    file: Path
    precision: Precision
    opset: int | None
    images: int
    most: int
    mean: float
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"file": self.file.name}


@dataclass(frozen=True)
class Graph:
    """G as it will be written: how to run it, and its file, given what that should say of itself."""

    run: Runner
    to_bytes: Callable[[Mapping[str, str]], bytes]
    opset: int | None = None


class Pixels(nn.Module):
    """G from pixels to pixels, as programs hold pictures, so that nobody has to know how domtrans scales and arranges them."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__()
        self.transfer = transfer

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] to uint8 [N, H, W, C]."""
        return to_uint8(self.transfer(to_float(images.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)


class InItsPlace(Transfer):
    """A graph in the place of the transfer that it was made of: any metric can measure it. f, where one asks, is PyTorch's."""

    def __init__(self, original: Transfer, run: Runner) -> None:
        super().__init__(original.encoder, original.generator)
        self.run = run

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to target images in [-1, 1], by way of their pixels."""
        made = torch.from_numpy(self.run(to_pixels(to_uint8(images))))
        return to_float(made.permute(0, 3, 1, 2).to(images.device))


def to_pixels(images: Tensor) -> np.ndarray:
    """uint8 [N, 1 or 3, H, W] to uint8 [N, H, W, 3]; grey is repeated."""
    return to_channels(images, 3).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def export(
    run: Run | str | Path,
    file: str | Path,
    changes: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    *,
    precision: Precision = "float32",
    tolerance: int | None = None,
) -> Exported:
    """Write G of a run as ``.onnx`` or, for torch.export, as ``.pt2``, with all that its images go through before and after.

    ``changes`` may name other data to compare on, as in ``Run.evaluate``. ``precision``: fp16 and int8 make smaller ONNX
    files, and the recipe's metrics say what that costs. ``tolerance``: levels of 255 that a pixel may be off before nothing
    is written; by default 1 for float32, and without limit for fp16 and int8.
    Raises DomtransError if the networks cannot be exported, the file would be further off, the data to compare on is not
    there, or the extra "export" is not installed.
    """
    file = Path(file)
    _check(file, precision)
    run = as_run(run)
    recipe = with_other_data(run.recipe, changes, run.registry) if changes else run.recipe
    seen = to_pixels(_source(run, recipe, "test").some(COMPARED).images)
    original = Pixels(copy.deepcopy(run.model).cpu()).eval().requires_grad_(False)
    graph = _pt2(original, seen) if file.suffix == ".pt2" else _onnx(original, seen, precision, run, recipe)
    most, mean = _differences(graph, original, seen)
    limit = TOLERANCE if tolerance is None and precision == "float32" else tolerance
    if limit is not None and most > limit:
        raise DomtransError(
            f"{file} was not written: over {len(seen)} source images it would be up to {most} levels of 255 off the original, "
            f"and {limit} are allowed; raise the tolerance, or find the step of f or g that is computed differently"
        )
    found = Exported(file, precision, graph.opset, len(seen), most, mean, {}, {})
    if precision != "float32" and recipe.metrics:
        before, after = (_figures(one, recipe, run) for one in (run.model, InItsPlace(run.model, graph.run)))
        found = replace(found, before=before, after=after)
    write_bytes(file, graph.to_bytes(_says(run, found)))
    return found


def _check(file: Path, precision: Precision) -> None:
    if file.suffix not in (".onnx", ".pt2"):
        raise DomtransError(f"{file} must end in .onnx or .pt2, which says what to write")
    if file.suffix == ".pt2" and precision != "float32":
        raise DomtransError(f"{precision} is made for onnxruntime: write it to a file that ends in .onnx")
    if not file.parent.is_dir():
        raise DomtransError(f"{file} cannot be written: there is no folder {file.parent}")


def _source(run: Run, recipe: Recipe, split: str) -> ImageSet:
    try:
        return load_domain(run.registry, recipe.source, split, recipe.image_size)
    except DomtransError as error:
        raise DomtransError(
            f"the export is compared on source images, and {error}; name others, e.g. source=folder source.path=FOLDER"
        ) from None


def _onnx(original: Pixels, seen: np.ndarray, precision: Precision, run: Run, recipe: Recipe) -> Graph:
    proto = _made("an ONNX graph", lambda: onnx_graph.make_graph(original, _example(seen)))
    if precision == "fp16":
        proto = _made("a float16 graph", lambda: onnx_graph.to_float16(proto))
    elif precision == "int8":
        calibration = to_pixels(_source(run, recipe, "train").some(CALIBRATED).images)
        proto = _made("an int8 graph", lambda: onnx_graph.to_int8(proto, calibration))
    return Graph(onnx_graph.runner(proto), lambda says: onnx_graph.to_bytes(proto, says), onnx_graph.opset(proto))


def _pt2(original: Pixels, seen: np.ndarray) -> Graph:
    shapes = ({0: torch.export.Dim("batch")},)
    program = _made("a graph", lambda: torch.export.export(original, (_example(seen),), dynamic_shapes=shapes))
    network = program.module()

    def to_bytes(says: Mapping[str, str]) -> bytes:
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=dict(says))
        return content.getvalue()

    return Graph(lambda images: network(torch.from_numpy(images)).numpy(), to_bytes)


def _example(seen: np.ndarray) -> Tensor:
    """Two images: torch would take a batch of one for a batch that is always of one."""
    return torch.from_numpy(np.resize(seen, (2, *seen.shape[1:])))


def _made(what: str, make: Callable[[], Any]) -> Any:
    """What a library makes of the networks; whatever it finds in them that it cannot handle, in one sentence."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries to their own developers
            return make()
    except DomtransError:
        raise
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise DomtransError(
            f"f and g cannot be made into {what}: {type(error).__name__}: {reason} (docs/export.md says what a graph can hold)"
        ) from error


@torch.no_grad()
def _differences(graph: Graph, original: Pixels, seen: np.ndarray) -> tuple[int, float]:
    """Levels of 255 by which pixels differ, most and mean; in batches of several sizes, for the graph takes any."""
    blocks = np.array_split(seen, [1, 8, len(seen) // 2])
    levels = np.concatenate(
        [graph.run(block).astype(int) - original(torch.from_numpy(block)).numpy() for block in blocks if len(block)]
    )
    return int(np.abs(levels).max()), round(float(np.abs(levels).mean()), 5)


def _figures(transfer: Transfer, recipe: Recipe, run: Run) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):  # a metric may seed what it fits; the caller's draws go on as they were
        measured = measure(transfer, recipe, run.registry, run.session)
    return {key: value for key, value in measured.items() if key not in NOT_OF_G}


def _says(run: Run, found: Exported) -> dict[str, str]:
    """What the file says of itself, under the keys of its metadata."""
    return {
        "domtrans": versions()["domtrans"],
        "model_sha256": hashlib.sha256(run.file.read_bytes()).hexdigest(),
        "recipe": run.recipe.to_json(),
        "about": json.dumps(run.about),
        "export": json.dumps(found.to_json()),
    }
