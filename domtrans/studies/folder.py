"""The folder of a study.

``study.json``               the name of the study, and its options
``ROW/seed-N/``              a run; rows with the same recipe share it, under the name of the first
``ROW/seed-N/measured.json`` everything that was measured of the run for the tables
``ROW/*.png``                a sample grid, the losses, the confusion matrix
``table.md``, ``table.json`` the tables of everything measured so far
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.overrides import differences
from domtrans.recipe.schema import Recipe
from domtrans.reporting.plots import confusion_png, losses_png
from domtrans.runs.folder import RunFolder
from domtrans.storage.address import check_local
from domtrans.storage.atomic import write_bytes, write_json
from domtrans.storage.tensors import open_tensors
from domtrans.studies.markdown import to_markdown
from domtrans.studies.tables import RunResults, value_at

IMAGE_FILES = {
    "source images and their transferred images": "grid.png",
    "losses by step, one line per seed": "losses.png",
    "confusion matrix, percent of each class": "confusion.png",
}
"""Captions, and the names of the files."""


class StudyFolder:
    """The paths and files of a study. Every file is written atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Create the folder, or continue in it; see ``claim``. ``identity``: the name of the study, and its options."""
        claim(self.path, "study.json", identity, "a study")

    def run(self, name: str, seed: int) -> Path:
        """The folder of one run."""
        return self.path / name / f"seed-{seed}"

    def seeds(self, name: str) -> list[int]:
        """The seeds of all runs of a row, measured or not."""
        texts = [path.name.removeprefix("seed-") for path in (self.path / name).glob("seed-*")]
        return sorted(int(text) for text in texts if text.isdigit())

    def measured(self, run: Path, recipe: Recipe) -> RunResults:
        """What was measured of the present model of a run; nothing if the model or the recipe has changed since."""
        try:
            noted, folder = json.loads((run / "measured.json").read_text(encoding="utf-8")), RunFolder(run)
            if noted["model"] == _checksum(run) and folder.recipe() == recipe:
                return RunResults(noted["passes"], noted["score"], value_at(folder.results() or {}, "seconds.training"))
        except (OSError, ValueError, LookupError, TypeError, DomtransError):
            pass
        return RunResults()

    def note(self, run: Path, measured: RunResults) -> None:
        """Write what was measured of the present model of a run."""
        noted = {"model": _checksum(run), "passes": measured.passes, "score": measured.score}
        write_json(run / "measured.json", noted)

    def draw(self, name: str, classes: Sequence[str]) -> None:
        """Write the images of a row."""
        runs = {seed: RunFolder(self.run(name, seed)) for seed in self.seeds(name)}
        images = {"losses.png": losses_png({f"seed {seed}": run.metrics() for seed, run in runs.items()})}
        grids = [grid for run in runs.values() if (grid := run.newest_sample()) is not None]
        if grids:
            images["grid.png"] = grids[0].read_bytes()
        metrics = [results["metrics"] for run in runs.values() if (results := run.results()) is not None]
        matrices = [one["confusion"] for one in metrics if "confusion" in one]
        if matrices and all(len(matrix) == len(classes) for matrix in matrices):
            counts = [[sum(cell) for cell in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
            images["confusion.png"] = confusion_png(counts, classes)
        for file, image in images.items():
            write_bytes(self.path / name / file, image, durable=False)

    def images(self, name: str) -> dict[str, str]:
        """The images of a row: captions and paths."""
        return {caption: f"{name}/{file}" for caption, file in IMAGE_FILES.items() if (self.path / name / file).is_file()}

    def write(self, data: Mapping[str, Any]) -> None:
        """Replace ``table.json`` and ``table.md``."""
        write_json(self.path / "table.json", data)
        write_bytes(self.path / "table.md", to_markdown(data).encode())


def _checksum(run: Path) -> str | None:
    with open_tensors(RunFolder(run).model_file, require_checksum=True) as file:
        return file.stored_checksum


def claim(path: Path, name: str, identity: Mapping[str, Any], kind: str) -> None:
    """Create a folder, or continue in it.

    Args:
        path: The folder.
        name: The file in it that says what the folder holds.
        identity: The content of that file.
        kind: What the folder is to hold, e.g. "a study", for messages.

    Raises:
        DomtransError: If the folder holds anything else.
    """
    check_local(path, f"the folder of {kind}")
    file, noun = path / name, kind.partition(" ")[2]
    try:
        if file.is_file():
            existing = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(existing, dict):
                raise ValueError(f"{name} holds {type(existing).__name__} instead of a table")
        elif path.exists() and any(path.iterdir()):
            raise DomtransError(f"{path} exists and is not {kind}; choose another folder with --out")
        else:
            existing = identity
            path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise DomtransError(f"{path} cannot be used for the {noun}: {error}; choose another folder with --out") from None
    changed = differences(existing, identity)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise DomtransError(
            f"{path} holds another {noun}, or this one with other options ({'; '.join(map(str, changed[:3]))}{more}); choose "
            "another folder with --out"
        )
    write_json(file, identity)
