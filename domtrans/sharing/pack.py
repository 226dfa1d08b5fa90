"""``pack``: a run as a folder that can be uploaded to a model hub, and that ``load`` reads from there or from a disk."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from domtrans.data.domains import load_domain
from domtrans.data.grid import pair_grid
from domtrans.errors import DomtransError
from domtrans.runs.run import Run, as_run
from domtrans.sharing.model_card import model_card
from domtrans.storage.atomic import new_folder

GRID_IMAGES = 32
"""Source test images in the sample grid."""
GRID_FILE = "samples.png"
CHECKSUMS_FILE = "SHA256SUMS"

LOCAL_PATH = re.compile(r"""(?:(?<=[\s"'=])|^)(?:~?/|[A-Za-z]:\\)[^\s"',]+""")
"""An absolute path, which is private and useless on another machine."""


@dataclass(frozen=True)
class Packed:
    """A packed run.

    Attributes:
        folder: The folder.
        files: Names of its files.
        places: Paths of this machine that the recipe or the command contains, and that are therefore in the files.
    """

    folder: Path
    files: tuple[str, ...]
    places: tuple[str, ...]


def pack(run: Run | str | Path, folder: str | Path, *, licence: str | None = None) -> Packed:
    """Write the model, its recipe and results, a model card with a sample grid, and checksums for ``sha256sum -c``.

    The folder is written whole or not at all.

    Args:
        run: A run, its folder or a model file.
        folder: A new or empty folder.
        licence: Licence of the model, as model hubs abbreviate it, e.g. "mit". The licences of the data are taken from the
            docstrings of the domains.

    Returns:
        What was written.

    Raises:
        DomtransError: If the folder is not empty or cannot be written.
    """
    run, folder = as_run(run, device="cpu"), Path(folder)
    with new_folder(folder) as unfinished:
        grid = _sample_grid(run)
        files = {
            "model.safetensors": run.file.read_bytes(),
            "recipe.json": run.recipe.to_json().encode(),
            "README.md": model_card(run, licence=licence, grid=GRID_FILE if grid else None).encode(),
        }
        if run.results:
            files["results.json"] = (json.dumps(run.results, indent=2) + "\n").encode()
        if grid:
            files[GRID_FILE] = grid
        sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
        files[CHECKSUMS_FILE] = "".join(sums).encode()
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
    text = json.dumps([run.recipe.model_dump(mode="json"), run.about, run.results])
    return Packed(folder, tuple(sorted(files)), tuple(sorted(set(LOCAL_PATH.findall(text)))))


def _sample_grid(run: Run) -> bytes | None:
    """Source test images above their transfers; the last grid of the training if the data is missing."""
    try:
        images = load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size).some(GRID_IMAGES)
    except DomtransError:
        grids = sorted((run.path / "samples").glob("*.png"))
        return grids[-1].read_bytes() if grids else None
    return pair_grid(images.images, run.model.apply_to(images))
