"""The folder of a study: what is in it, and how what is finished in it is kept.

``study.json``               which study this is, with which options
``ROW/seed-N/``              a run; rows that train alike share it, under the name of the first
``ROW/seed-N/measured.json`` what was measured of that run for the tables
``ROW/*.png``                a grid of images, the losses, what was taken for what
``table.md``, ``table.json`` all that has been measured so far
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.schema import Recipe
from domtrans.reporting.plots import confusion_png, losses_png
from domtrans.runs.folder import RunFolder
from domtrans.storage.atomic import write_bytes, write_json
from domtrans.storage.tensors import open_tensors
from domtrans.studies.markdown import to_markdown
from domtrans.studies.tables import Measured

PICTURES = {
    "source images, and what became of them": "grid.png",
    "losses by step, a line for every seed": "losses.png",
    "what was taken for what, in percent of each class": "confusion.png",
}


class StudyFolder:
    """Paths of a study and the writing of its files. Every file is replaced whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Make the folder, or take it up again; raises DomtransError if it holds anything but this study, so identified."""
        note = self.path / "study.json"
        try:
            if note.is_file():
                found = json.loads(note.read_text(encoding="utf-8"))
            elif self.path.exists() and any(self.path.iterdir()):
                raise DomtransError(f"{self.path} exists and holds no study; choose another folder with --out")
            else:
                found = identity
                self.path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise DomtransError(f"{self.path} cannot hold the study: {error}; choose another folder with --out") from None
        if found != identity:
            raise DomtransError(
                f"{self.path} holds another study, or this one with other options ({json.dumps(found)} instead of "
                f"{json.dumps(identity)}); choose another folder with --out"
            )
        write_json(note, identity)

    def run(self, name: str, seed: int) -> Path:
        """The folder of one run."""
        return self.path / name / f"seed-{seed}"

    def seeds(self, name: str) -> list[int]:
        """The seeds that have a run, measured or not."""
        texts = [path.name.removeprefix("seed-") for path in (self.path / name).glob("seed-*")]
        return sorted(int(text) for text in texts if text.isdigit())

    def measured(self, run: Path, recipe: Recipe) -> Measured:
        """What was measured of a run of this recipe, as it is now; of an earlier model or recipe nothing counts."""
        try:
            noted = json.loads((run / "measured.json").read_text(encoding="utf-8"))
            if noted["model"] == _checksum(run) and RunFolder(run).recipe() == recipe:
                return Measured(noted["passes"], noted["score"])
        except (OSError, ValueError, LookupError, TypeError, DomtransError):
            pass
        return Measured()

    def note(self, run: Path, measured: Measured) -> None:
        """Write down what was measured of the model that is there now."""
        write_json(run / "measured.json", {"model": _checksum(run), **asdict(measured)})

    def draw(self, name: str, classes: Sequence[str]) -> None:
        """The pictures of a row's runs."""
        runs = {seed: RunFolder(self.run(name, seed)) for seed in self.seeds(name)}
        pictures = {"losses.png": losses_png({f"seed {seed}": run.metrics() for seed, run in runs.items()})}
        grids = [grid for run in runs.values() for grid in sorted(run.samples.glob("*.png"))[-1:]]
        if grids:
            pictures["grid.png"] = grids[0].read_bytes()
        metrics = [results["metrics"] for run in runs.values() if (results := run.results()) is not None]
        found = [one["confusion"] for one in metrics if "confusion" in one]
        if found and all(len(one) == len(classes) for one in found):
            counts = [[sum(cell) for cell in zip(*rows, strict=True)] for rows in zip(*found, strict=True)]
            pictures["confusion.png"] = confusion_png(counts, classes)
        for file, picture in pictures.items():
            write_bytes(self.path / name / file, picture, durable=False)

    def pictures(self, name: str) -> dict[str, str]:
        """What there is to see of a row's runs, and its file."""
        return {what: f"{name}/{file}" for what, file in PICTURES.items() if (self.path / name / file).is_file()}

    def write(self, data: Mapping[str, Any]) -> None:
        """Replace ``table.json`` and ``table.md``."""
        write_json(self.path / "table.json", data)
        write_bytes(self.path / "table.md", to_markdown(data).encode())


def _checksum(run: Path) -> str | None:
    with open_tensors(RunFolder(run).model_file, require_checksum=True) as file:
        return file.stored_checksum
