"""``export``: G as one file that runs without domtrans, compared with the original on real images."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
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
from domtrans.evaluation.metric_rows import declaration_of, declared_values
from domtrans.interfaces import Generator
from domtrans.model import onnx_graph
from domtrans.model.transfer import Transfer
from domtrans.progress.display import session_with_display
from domtrans.recipe.schema import Recipe
from domtrans.runs.folder import versions
from domtrans.runs.load import as_run
from domtrans.runs.run import Run
from domtrans.session import Session
from domtrans.storage.address import check_local
from domtrans.storage.atomic import write_bytes

GraphPrecision = Literal["float32", "fp16", "int8"]
RunGraph = Callable[[np.ndarray], np.ndarray]
"""Source images, uint8 [N, H, W, 3], to target images, uint8 [N, H, W, C]."""

COMPARED_IMAGES = 256
"""Source test images, evenly spread, on which the file is compared with the original."""
CALIBRATION_IMAGES = 256
"""Source training images, evenly spread, that give int8 its ranges."""
FLOAT32_TOLERANCE = 1
"""Levels of 255 by which a float32 file may differ: a sum in another order can round to the next level."""
METADATA_KEY = "model_sha256"
"""Metadata by which a file of an earlier export is recognised."""


@dataclass(frozen=True)
class Exported:
    """The exported file, and how it compares with the original in PyTorch.

    Attributes:
        file: The file.
        precision: "float32", "fp16" or "int8".
        opset: Version of ONNX's operators; None for a ``.pt2`` file.
        images: Number of images that were compared.
        most: Largest difference of a pixel, in levels of 255.
        mean: Mean difference of the pixels, in levels of 255.
        before: For fp16 and int8, the recipe's metrics of the original.
        after: The same metrics of the file.
    """

    file: Path
    precision: GraphPrecision
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
    """The traced G: a function that runs it, and one that gives its file, with metadata."""

    run: RunGraph
    to_bytes: Callable[[Mapping[str, str]], bytes]
    opset: int | None = None


class PixelTransfer(nn.Module):
    """G from pixels to pixels, including scaling and layout, so that other programs need to know neither."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__()
        self.transfer = transfer

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] to uint8 [N, H, W, C]."""
        return to_uint8(self.transfer(to_float(images.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)


class GraphGenerator(Generator):
    """A graph as a g that reads images, so that every metric can measure ``Transfer(f, GraphGenerator(...))``."""

    reads_images = True

    def __init__(self, run: RunGraph) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: Tensor) -> Tensor:
        """RGB images [B, 3, H, W] in [-1, 1] to target images in [-1, 1]."""
        outputs = torch.from_numpy(self.run(to_pixels(to_uint8(images))))
        return to_float(outputs.permute(0, 3, 1, 2).to(images.device))


def to_pixels(images: Tensor) -> np.ndarray:
    """uint8 [N, 1 or 3, H, W] to uint8 [N, H, W, 3]; grey is repeated."""
    return to_channels(images, 3).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def export(
    run: Run | str | Path,
    file: str | Path,
    changes: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    *,
    precision: GraphPrecision = "float32",
    tolerance: int | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> Exported:
    """Write G of a run, with the scaling of its images, as an ``.onnx`` file or as ``.pt2`` for torch.export.

    Args:
        run: A run or its folder.
        file: The file to write. An existing file is replaced only if ``export`` wrote it.
        changes: Other data to compare on, as in ``Run.evaluate``.
        precision: "fp16" and "int8" make a smaller ONNX file, and measure the recipe's metrics with it.
        tolerance: Levels of 255 by which a pixel may differ from the original. None: 1 for float32, unlimited for fp16
            and int8.
        force: Replace a file that ``export`` did not write.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.

    Returns:
        The file and its comparison with the original.

    Raises:
        DomtransError: If the networks cannot be traced, a pixel differs by more than ``tolerance``, the data to compare on
            is missing, the file exists and ``export`` did not write it, or the extra "export" is not installed.
    """
    check_local(file, "an exported file")
    file = Path(file)
    _check_file(file, precision)
    if not force:
        _check_replaceable(file)
    run = as_run(run)
    recipe = with_other_data(run.recipe, changes, run.registry) if changes else run.recipe
    pixels = to_pixels(_load_source(run, recipe, "test").some(COMPARED_IMAGES).images)
    original = PixelTransfer(onnx_graph.contiguous_copy(run.model)).eval()
    graph = _make_pt2(original, pixels) if file.suffix == ".pt2" else _make_onnx(original, pixels, precision, run, recipe)
    largest, mean = _compare(graph, original, pixels)
    limit = FLOAT32_TOLERANCE if tolerance is None and precision == "float32" else tolerance
    if limit is not None and largest > limit:
        raise DomtransError(
            f"{file} was not written: over {len(pixels)} source images a pixel differs from the original by {largest} of 255 "
            f"levels, and the tolerance is {limit}; raise the tolerance, or find the operation that is computed differently"
        )
    exported = Exported(file, precision, graph.opset, len(pixels), largest, mean, {}, {})
    if precision != "float32" and recipe.metrics:
        exported_transfer = Transfer(run.model.encoder, GraphGenerator(graph.run))
        with session_with_display(run.session, progress) as session:
            before, after = (_measure(transfer, recipe, run, session) for transfer in (run.model, exported_transfer))
        exported = replace(exported, before=before, after=after)
    write_bytes(file, graph.to_bytes(_metadata(run, exported)))
    return exported


def _check_file(file: Path, precision: GraphPrecision) -> None:
    if file.suffix not in (".onnx", ".pt2"):
        raise DomtransError(f"{file} must end in .onnx or .pt2, which selects the format")
    if file.suffix == ".pt2" and precision != "float32":
        raise DomtransError(f"{precision} is for onnxruntime: write it to a file that ends in .onnx")
    if not file.parent.is_dir():
        raise DomtransError(f"{file} cannot be written: there is no folder {file.parent}")


def _check_replaceable(file: Path) -> None:
    """Raise DomtransError if the file exists and is not from an earlier export."""
    if not file.exists():
        return
    keys = _pt2_metadata_keys(file) if file.suffix == ".pt2" else onnx_graph.metadata_keys(file)
    if METADATA_KEY not in keys:
        raise DomtransError(
            f"{file} exists and is not from an earlier export; choose another file, or replace it with --force "
            "(Python: force=True)"
        )


def _pt2_metadata_keys(file: Path) -> set[str]:
    """Names of the extra files of a torch.export file; empty for any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return {name.rpartition("/extra/")[2] for name in archive.namelist() if "/extra/" in name}
    except (OSError, zipfile.BadZipFile):
        return set()


def _load_source(run: Run, recipe: Recipe, split: str) -> ImageSet:
    try:
        return load_domain(run.registry, recipe.source, split, recipe.image_size)
    except DomtransError as error:
        raise DomtransError(
            f"the file is compared with the original on source images, but {error}; "
            "name other images, e.g. source=folder source.path=FOLDER"
        ) from None


def _make_onnx(original: PixelTransfer, pixels: np.ndarray, precision: GraphPrecision, run: Run, recipe: Recipe) -> Graph:
    proto = onnx_graph.traced("an ONNX graph", lambda: onnx_graph.make_graph(original, _example(pixels)))
    if precision == "fp16":
        proto = onnx_graph.traced("a float16 graph", lambda: onnx_graph.to_float16(proto))
    elif precision == "int8":
        calibration = to_pixels(_load_source(run, recipe, "train").some(CALIBRATION_IMAGES).images)
        proto = onnx_graph.traced("an int8 graph", lambda: onnx_graph.to_int8(proto, calibration))
    run_graph = onnx_graph.onnxruntime_runner(onnx_graph.serialise(proto))
    return Graph(run_graph, lambda metadata: onnx_graph.to_bytes(proto, metadata), onnx_graph.opset(proto))


def _make_pt2(original: PixelTransfer, pixels: np.ndarray) -> Graph:
    shapes = ({0: torch.export.Dim("batch")},)
    program = onnx_graph.traced("a graph", lambda: torch.export.export(original, (_example(pixels),), dynamic_shapes=shapes))
    network = program.module()

    def to_bytes(metadata: Mapping[str, str]) -> bytes:
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=dict(metadata))
        return content.getvalue()

    return Graph(lambda images: network(torch.from_numpy(images)).numpy(), to_bytes)


def _example(pixels: np.ndarray) -> Tensor:
    """Two images: torch.export would fix the batch size of a batch of one."""
    return torch.from_numpy(np.resize(pixels, (2, *pixels.shape[1:])))


@torch.no_grad()
def _compare(graph: Graph, original: PixelTransfer, pixels: np.ndarray) -> tuple[int, float]:
    """Largest and mean difference of the pixels in levels of 255, over batches of several sizes."""
    batches = np.array_split(pixels, [1, 8, len(pixels) // 2])
    levels = np.concatenate(
        [graph.run(batch).astype(int) - original(torch.from_numpy(batch)).numpy() for batch in batches if len(batch)]
    )
    return int(np.abs(levels).max()), round(float(np.abs(levels).mean()), 5)


def _measure(transfer: Transfer, recipe: Recipe, run: Run, session: Session) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):  # a metric may seed what it fits; this keeps the caller's generator as it is
        results = measure(transfer, recipe, run.registry, session, run.about["classes"])
    values = declared_values(run.registry, recipe)
    declared = {key: declaration_of(key, values)[0] for key in results}
    return {key: value for key, value in results.items() if (of := declared[key]) is None or of.measures_g}


def _metadata(run: Run, exported: Exported) -> dict[str, str]:
    """Where the file comes from, for its metadata."""
    return {
        "domtrans": versions()["domtrans"],
        METADATA_KEY: hashlib.sha256(run.file.read_bytes()).hexdigest(),
        "recipe": run.recipe.to_json(),
        "about": json.dumps(run.about),
        "export": json.dumps(exported.to_json()),
    }
