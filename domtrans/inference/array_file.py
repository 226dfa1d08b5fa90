"""Transfer of an .npy file with many images, which may have any number of channels."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domtrans.data.axes import set_axes
from domtrans.data.value_range import detect_range_of_few
from domtrans.errors import DomtransError, reason_of
from domtrans.inference.options import TransferOptions
from domtrans.inference.output_files import write_output
from domtrans.model.inference_engine import InferenceEngine
from domtrans.runs.inputs import known_channels
from domtrans.runs.run import Run
from domtrans.storage.paths import expand_home

SUFFIX = ".npy"
STATE = "--value-range {black} {white} (Python: value_range=({black}, {white}))"
"""How a user states the values of black and white."""


def find_array_file(source: Any) -> Path | None:
    """The .npy file that is the only input of a transfer, or None. Raises DomtransError for one among several inputs."""
    several = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    files = [Path(expand_home(str(item))) for item in several if isinstance(item, str | Path)]
    arrays = [file for file in files if file.suffix.lower() == SUFFIX]
    if arrays and len(several) > 1:
        raise DomtransError(f"{arrays[0]} is an array file, which is transferred alone; give it as the only input")
    return arrays[0] if arrays else None


def array_target(source: Path, destination: Any, options: TransferOptions) -> Path:
    """The output. Raises DomtransError for an output or an option that does not go with an array file."""
    if not isinstance(destination, str | Path) or Path(destination).suffix.lower() != SUFFIX:
        raise DomtransError(f"the images of {source} are written to one file, so give an output that ends in {SUFFIX}")
    refused = {
        "format": options.format,
        "size": options.size,
        "keep_size": options.keep_size,
        "side_by_side": options.side_by_side,
        "crop": options.crop,
        "sheet": options.sheet,
        "parameters": options.parameters,
        "project": options.project,
        "tiles": options.tiles,
        "max_pixels": options.max_pixels is not None,
    }
    for name, value in refused.items():
        if value:
            raise DomtransError(f"{name.replace('_', '-')} is for image files, and {source} is an array file; leave it out")
    if options.part[1] > 1:
        raise DomtransError(f"{source} is one array file, and several processes cannot share it; transfer it with one process")
    target = Path(expand_home(str(destination)))
    if target.resolve() == source.resolve() or (target.exists() and source.exists() and target.samefile(source)):
        raise DomtransError(f"the output {target} would replace the input; choose another")
    if target.exists() and not options.force and not options.skip_existing:
        raise DomtransError(f"the output {target} exists; choose another, or replace it with --force (Python: force=True)")
    return target


def transfer_array(
    run: Run,
    source: Path,
    target: Path,
    options: TransferOptions,
    engine: InferenceEngine,
    on_images: Callable[[int, int], None],
) -> Path:
    """Transfer the images of an .npy file to another, in the shapes that ``Run.transfer`` takes and returns for a batch.

    Args:
        run: The loaded run.
        source: The input, [N, H, W], [N, H, W, C] or [N, C, H, W].
        target: The output, an .npy file.
        options: Of these, ``batch_size``, ``aspect`` and ``value_range`` are used.
        engine: What computes G.
        on_images: Called with the number of images that are done, and of all; if it raises, nothing is written.

    Returns:
        The output.

    Raises:
        DomtransError: If the input cannot be read, or it is not clear which values are black and white, or values lie
            outside those that were stated.
    """
    images = _read(source)
    what = f"the images in {source}"
    axes = set_axes(images.shape, known_channels(run.encoder.encoder.channels), what)
    if 0 in images.shape:
        raise DomtransError(f"{source} has no images: it is an array of shape {list(images.shape)}")
    value_range = options.value_range
    if value_range is None and images.dtype.kind == "f":  # of all images: a batch alone may look as if it had another
        value_range = detect_range_of_few(torch.from_numpy(images), what, options.batch_size, STATE)
    batches = images[..., None] if axes == "NHW" else images  # Run.transfer refuses [3, H, W]
    outputs = []
    for start in range(0, len(batches), options.batch_size):
        on_images(start, len(batches))
        batch = batches[start : start + options.batch_size]
        outputs.append(run.transfer(batch, aspect=options.aspect, value_range=value_range, engine=engine))
    on_images(len(batches), len(batches))
    made = np.concatenate(outputs)
    content = io.BytesIO()
    np.save(content, made[..., 0] if axes == "NHW" and made.shape[-1] == 1 else made, allow_pickle=False)
    return write_output(target, content.getvalue())


def _read(source: Path) -> np.ndarray:
    """The array of a file, mapped into memory. Changes of it, which nothing makes, would stay in memory."""
    try:
        images = np.load(source, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DomtransError(f"{source} cannot be read as an .npy file: {reason_of(error)}") from None
    if not isinstance(images, np.ndarray):
        raise DomtransError(f"{source} holds several arrays; save the images alone with np.save")
    return np.require(images, images.dtype.newbyteorder("="), ["C", "W"])
