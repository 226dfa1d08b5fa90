"""The tracker for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from domtrans import Recipe, Tracker, require_extra
from domtrans_trackers.values import numbers, numbers_of_results


class TensorBoard(Tracker):
    """Event files in the folder ``tensorboard`` of the run: ``tensorboard --logdir runs`` shows every run under ``runs``.

    Losses and results are scalars, sample grids are images, and the recipe and alarms are texts. Needs the extra
    ``domtrans[tensorboard]``.
    """

    def __init__(self, folder: Path, recipe: Recipe, identity: str) -> None:
        self._module = require_extra("torch.utils.tensorboard", "tensorboard", "the tracker 'tensorboard'")
        self._folder, self._recipe = folder / "tensorboard", recipe
        self._writer: Any = None
        self._step = 0

    def log(self, record: Mapping[str, Any]) -> None:
        """Log numbers as scalars, alarms and changes as texts."""
        step, scalars = record["step"], numbers(record)
        # A line without numbers is about a step whose scalars must stay.
        writer = self._writer_from(step if scalars else step + 1)
        for name, value in scalars.items():
            writer.add_scalar(name.replace(".", "/", 1), value, step)
        for name, sentence in record.get("alarms", {}).items():
            writer.add_text(f"alarms/{name}", sentence, step)
        for change in record.get("changed", ()):
            writer.add_text("changed", change, step)

    def image(self, name: str, path: Path, step: int) -> None:
        """Log an image under its name."""
        with Image.open(path) as image:
            self._writer_from(step).add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Log the results as scalars at the last step."""
        if results is not None:
            step = results["run"]["steps"]
            writer = self._writer_from(max(self._step, step))
            for name, value in numbers_of_results(results).items():
                writer.add_scalar(f"results/{name}", value, step)
        if self._writer is not None:
            self._writer.close()

    def _writer_from(self, step: int) -> Any:
        """Return the writer. If the run was resumed or rolled back, a new file tells TensorBoard to drop later steps."""
        if self._writer is None or step < self._step:
            if self._writer is not None:
                self._writer.close()
            self._writer = self._module.SummaryWriter(str(self._folder), purge_step=step)
            self._writer.add_text("recipe", f"```json\n{self._recipe.to_json()}```", step)
        self._step = step
        return self._writer
