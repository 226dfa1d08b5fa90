"""Transfer of an .npy file with many images, which may have any number of channels."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np

from domtrans.errors import DomtransError, Stopped
from domtrans.inference.options import TransferOptions
from domtrans.inference.output_files import write_output
from domtrans.runs.run import Run

SUFFIX = ".npy"


def is_array_file(source: Any) -> bool:
    """Whether the input of a transfer is one .npy file."""
    return isinstance(source, str | Path) and Path(source).suffix.lower() == SUFFIX


def transfer_array(run: Run, source: Path, destination: Any, options: TransferOptions, stop: threading.Event) -> Path:
    """Transfer the images of an .npy file to another, in the shapes that ``Run.transfer`` takes and returns.

    Args:
        run: The loaded run.
        source: The input, [N, H, W], [N, H, W, C] or [N, C, H, W].
        destination: The output, an .npy file.
        options: Of these, ``batch_size``, ``force`` and ``aspect`` are used.
        stop: Once set, Stopped is raised and nothing is written.

    Returns:
        The output.

    Raises:
        DomtransError: If the input cannot be read, the output is no .npy file or exists, or an option does not apply.
        Stopped: If ``stop`` was set.
    """
    _check(source, destination, options)
    try:
        images = np.load(source, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DomtransError(f"{source} cannot be read as an .npy file: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(images, np.ndarray) or images.ndim not in (3, 4) or 0 in images.shape:
        shape = list(images.shape) if isinstance(images, np.ndarray) else "several arrays"
        raise DomtransError(f"{source} must hold images [N, H, W], [N, H, W, C] or [N, C, H, W], not {shape}")
    images = images[:, None] if images.ndim == 3 else images
    outputs = []
    for start in range(0, len(images), options.batch_size):
        if stop.is_set():
            raise Stopped(f"stopped after {start:,} of {len(images):,} images, and nothing was written")
        outputs.append(run.transfer(np.array(images[start : start + options.batch_size]), aspect=options.aspect))
    content = io.BytesIO()
    np.save(content, np.concatenate(outputs), allow_pickle=False)
    return write_output(Path(destination), content.getvalue())


def _check(source: Path, destination: Any, options: TransferOptions) -> None:
    """Raise DomtransError for an output or an option that does not go with arrays."""
    if not isinstance(destination, str | Path) or Path(destination).suffix.lower() != SUFFIX:
        raise DomtransError(f"the images of {source} are written to one file, so give an output that ends in {SUFFIX}")
    for name in ("size", "side_by_side", "crop", "sheet", "parameters", "project", "tiles", "keep_size", "format"):
        if getattr(options, name, None):
            raise DomtransError(f"{name.replace('_', '-')} is for image files, and {source} is an array file; leave it out")
    if Path(destination).exists() and not options.force:
        raise DomtransError(f"the output {destination} exists; choose another, or replace it with --force (Python: force=True)")
    if Path(destination).absolute() == Path(source).absolute():
        raise DomtransError(f"the output {destination} would replace the input; choose another")
