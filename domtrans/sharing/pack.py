"""``pack``: a run as a folder that can be put on a model hub as it is, and that ``load`` reads from there or from a disk."""

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

SHOWN = 32
"""Source test images in the grid."""
GRID = "samples.png"
CHECKSUMS = "SHA256SUMS"

PLACE = re.compile(r"""(?:(?<=[\s"'=])|^)(?:~?/|[A-Za-z]:\\)[^\s"',]+""")
"""A path that only means something on one machine."""


@dataclass(frozen=True)
class Packed:
    """The folder; its files; and the places of this machine that the recipe or the command names, which go out with it."""

    folder: Path
    files: tuple[str, ...]
    places: tuple[str, ...]


def pack(run: Run | str | Path, folder: str | Path, *, licence: str | None = None) -> Packed:
    """Write the model, its recipe, its results, a model card with a sample grid, and checksums (``sha256sum -c``).

    ``folder``: new or empty. ``licence``: of the model, as model hubs abbreviate it, e.g. "mit"; that of the data is read
    off the domains' docstrings. Every file is there or none is.
    Raises DomtransError if the folder cannot be written or holds something.
    """
    run, folder = as_run(run, device="cpu"), Path(folder)
    with new_folder(folder) as place:
        grid = _grid(run)
        files = {
            "model.safetensors": run.file.read_bytes(),
            "recipe.json": run.recipe.to_json().encode(),
            "README.md": model_card(run, licence=licence, grid=GRID if grid else None).encode(),
        }
        if run.results:
            files["results.json"] = (json.dumps(run.results, indent=2) + "\n").encode()
        if grid:
            files[GRID] = grid
        sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
        files[CHECKSUMS] = "".join(sums).encode()
        for name, content in files.items():
            (place / name).write_bytes(content)
    said = json.dumps([run.recipe.model_dump(mode="json"), run.about, run.results])
    return Packed(folder, tuple(sorted(files)), tuple(sorted(set(PLACE.findall(said)))))


def _grid(run: Run) -> bytes | None:
    """Source test images and what G makes of them; the last grid of the training where the data is not there."""
    try:
        images = load_domain(run.registry, run.recipe.source, "test", run.recipe.image_size).some(SHOWN)
    except DomtransError:
        drawn = sorted((run.path / "samples").glob("*.png"))
        return drawn[-1].read_bytes() if drawn else None
    return pair_grid(images.images, run.model.apply_to(images))
