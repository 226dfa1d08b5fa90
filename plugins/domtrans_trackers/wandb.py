"""The tracker for Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from domtrans import Recipe, Tracker, require_extra
from domtrans_trackers.values import numbers, numbers_of_results


class WandB(Tracker):
    """A run in Weights & Biases. Alarms become alerts. Needs the extra ``domtrans[wandb]``.

    Everybody who can see the project sees the recipe, with the file names in it, and the sample grids.

    Args:
        project: The project of the run.
        entity: The owner of the project; by default you.
        mode: "online", or "offline", which keeps everything in the folder ``wandb`` of the run, for ``wandb sync``.
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
            resume="allow" if mode == "online" else None,  # offline parts of a run are joined by `wandb sync`
            name=recipe.name,
            notes=recipe.description,
            config=recipe.model_dump(mode="json"),
            dir=str(folder),
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="step")  # W&B's own step cannot go back, and a run may be rolled back

    def log(self, record: Mapping[str, Any]) -> None:
        """Log numbers, and alarms as alerts."""
        self._run.log({**numbers(record), "step": record["step"]})
        for name, sentence in record.get("alarms", {}).items():
            self._run.alert(name, f"step {record['step']}: {sentence}")

    def image(self, name: str, path: Path, step: int) -> None:
        """Log an image under its name."""
        self._run.log({name: self._wandb.Image(str(path)), "step": step})

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Log the results in the summary, or mark a run without results as failed."""
        if results is not None:
            self._run.summary.update({f"results.{name}": value for name, value in numbers_of_results(results).items()})
        self._run.finish(exit_code=int(results is None))
