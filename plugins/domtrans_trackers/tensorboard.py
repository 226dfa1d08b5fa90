"""Event files for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from domtrans import Recipe, Tracker, require_extra
from domtrans_trackers.leaves import figures


class TensorBoard(Tracker):
    """Event files in the folder ``tensorboard`` of the run: ``tensorboard --logdir runs`` shows every run under ``runs``.

    Figures are scalars, sample grids images, the recipe, alarms and results texts. Needs the extra ``domtrans[tensorboard]``.
    """

    def __init__(self, folder: Path, recipe: Recipe, identity: str) -> None:
        self._module = require_extra("torch.utils.tensorboard", "tensorboard", "the tracker 'tensorboard'")
        self._folder, self._recipe = folder / "tensorboard", recipe
        self._writer: Any = None
        self._step = 0

    def log(self, record: Mapping[str, Any]) -> None:
        """Scalars and alarms."""
        step, found = record["step"], figures(record)
        # A line without figures is said of a step whose figures stay.
        writer = self._at(step if found else step + 1)
        for name, value in found.items():
            writer.add_scalar(name.replace(".", "/", 1), value, step)
        for name, sentence in record.get("alarms", {}).items():
            writer.add_text(f"alarms/{name}", sentence, step)
        for change in record.get("changed", ()):
            writer.add_text("changed", change, step)

    def image(self, name: str, path: Path, step: int) -> None:
        """A picture under its name."""
        with Image.open(path) as picture:
            self._at(step).add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Results as scalars at the last step."""
        if results is not None:
            writer, step = self._at(max(self._step, results["steps"])), results["steps"]
            for name, value in figures(results).items():
                writer.add_scalar(f"results/{name}", value, step)
        if self._writer is not None:
            self._writer.close()

    def _at(self, step: int) -> Any:
        """The writer. Where a run goes on, or back, a new file says that what was written from this step on holds no more."""
        if self._writer is None or step < self._step:
            if self._writer is not None:
                self._writer.close()
            self._writer = self._module.SummaryWriter(str(self._folder), purge_step=step)
            self._writer.add_text("recipe", f"```json\n{self._recipe.to_json()}```", step)
        self._step = step
        return self._writer
