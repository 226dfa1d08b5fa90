"""Runs in MLflow."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domtrans import Recipe, Tracker, require_extra
from domtrans_trackers.leaves import figures, leaves

LONGEST = 6000
"""Characters of a parameter, as MLflow allows."""
MOST = 100
"""Parameters that MLflow takes at once."""


class MLflow(Tracker):
    """A run in MLflow: options of the recipe as parameters, figures as metrics, sample grids as artifacts, alarms as tags.

    ``uri``: of a tracking server or database; by default ``$MLFLOW_TRACKING_URI``, or what MLflow chooses.
    ``experiment``: the MLflow experiment that the run is put under. Needs the extra ``domtrans[mlflow]``.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, identity: str, *, uri: str | None = None, experiment: str = "domtrans"
    ) -> None:
        self._entities: Any = require_extra("mlflow.entities", "mlflow", "the tracker 'mlflow'")
        self._client: Any = require_extra("mlflow", "mlflow", "the tracker 'mlflow'").MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else self._client.create_experiment(experiment)
        found = self._client.search_runs([place], f"tags.`domtrans.identity` = '{identity}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = self._client.create_run(place, tags={"domtrans.identity": identity}, run_name=recipe.name).info.run_id
            self._client.set_tag(self._run, "mlflow.note.content", recipe.description)
            given = [(name, json.dumps(value)[:LONGEST]) for name, value in leaves(recipe.model_dump(mode="json"))]
            params = [self._entities.Param(name, value) for name, value in given]
            for start in range(0, len(params), MOST):
                self._client.log_batch(self._run, params=params[start : start + MOST])

    def log(self, record: Mapping[str, Any]) -> None:
        """Figures, and alarms as tags."""
        self._metrics(figures(record), record["step"])
        for name, sentence in record.get("alarms", {}).items():
            self._client.set_tag(self._run, f"alarm.{name}", f"step {record['step']}: {sentence}")

    def image(self, name: str, path: Path, step: int) -> None:
        """A picture in the folder of its name."""
        self._client.log_artifact(self._run, str(path), name)

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Results as metrics; a run without any is marked as killed."""
        if results is not None:
            self._metrics({f"results.{name}": value for name, value in figures(results).items()}, results["steps"])
        self._client.set_terminated(self._run, "KILLED" if results is None else "FINISHED")

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self._entities.Metric(name, value, now, step) for name, value in values.items()]
        if metrics:
            self._client.log_batch(self._run, metrics=metrics)
