"""Runs in Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from domtrans import Recipe, Tracker, require_extra
from domtrans_trackers.leaves import figures


class WandB(Tracker):
    """A run in Weights & Biases; whoever it goes to sees the recipe, with the names of files in it, and the sample grids.

    ``project``: where the run goes; ``entity``: whose project, by default your own. ``mode``: "offline" keeps everything in the
    folder ``wandb`` of the run, for ``wandb sync``. Alarms become alerts. Needs the extra ``domtrans[wandb]``.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        identity: str,
        *,
        project: str = "domtrans",
        entity: str | None = None,
        mode: Literal["online", "offline"] = "online",
    ) -> None:
        self._wandb = require_extra("wandb", "wandb", "the tracker 'wandb'")
        self._run = self._wandb.init(
            project=project,
            entity=entity,
            mode=mode,
            id=identity,
            resume="allow" if mode == "online" else None,  # what is kept offline meets when it is synchronised
            name=recipe.name,
            notes=recipe.description,
            config=recipe.model_dump(mode="json"),
            dir=str(folder),
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="step")  # its own step may only grow, and a run may go back

    def log(self, record: Mapping[str, Any]) -> None:
        """Figures, and alarms as alerts."""
        self._run.log({**figures(record), "step": record["step"]})
        for name, sentence in record.get("alarms", {}).items():
            self._run.alert(name, f"step {record['step']}: {sentence}")

    def image(self, name: str, path: Path, step: int) -> None:
        """A picture under its name."""
        self._run.log({name: self._wandb.Image(str(path)), "step": step})

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Results in the summary; a run without any counts as failed."""
        if results is not None:
            self._run.summary.update({f"results.{name}": value for name, value in figures(results).items()})
        self._run.finish(exit_code=int(results is None))
