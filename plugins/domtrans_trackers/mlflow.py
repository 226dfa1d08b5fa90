"""The tracker for MLflow."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domtrans import Recipe, Tracker, require_extra
from domtrans_trackers.values import flatten, numbers, numbers_of_results

MAX_PARAMETER_CHARACTERS = 6000
"""MLflow's limit for one parameter."""
MAX_PARAMETERS_PER_CALL = 100
"""MLflow's limit for one call."""


class MLflow(Tracker):
    """A run in MLflow: recipe options are parameters, losses and results metrics, sample grids artifacts, alarms tags.

    Needs the extra ``domtrans[mlflow]``.

    Args:
        uri: A tracking server or database; by default ``$MLFLOW_TRACKING_URI``, or MLflow's own default.
        experiment: The MLflow experiment that the run belongs to.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, identity: str, *, uri: str | None = None, experiment: str = "domtrans"
    ) -> None:
        self._entities: Any = require_extra("mlflow.entities", "mlflow", "the tracker 'mlflow'")
        self._client: Any = require_extra("mlflow", "mlflow", "the tracker 'mlflow'").MlflowClient(tracking_uri=uri)
        existing = self._client.get_experiment_by_name(experiment)
        experiment_id = existing.experiment_id if existing else self._client.create_experiment(experiment)
        runs = self._client.search_runs([experiment_id], f"tags.`domtrans.identity` = '{identity}'", max_results=1)
        if runs:
            self._run = runs[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = self._create_run(experiment_id, recipe, identity)

    def _create_run(self, experiment_id: str, recipe: Recipe, identity: str) -> str:
        created = self._client.create_run(experiment_id, tags={"domtrans.identity": identity}, run_name=recipe.name)
        run: str = created.info.run_id
        self._client.set_tag(run, "mlflow.note.content", recipe.description)
        params = [
            self._entities.Param(name, json.dumps(value)[:MAX_PARAMETER_CHARACTERS])
            for name, value in flatten(recipe.model_dump(mode="json"))
        ]
        for start in range(0, len(params), MAX_PARAMETERS_PER_CALL):
            self._client.log_batch(run, params=params[start : start + MAX_PARAMETERS_PER_CALL])
        return run

    def log(self, record: Mapping[str, Any]) -> None:
        """Log numbers as metrics and alarms as tags."""
        self._log_metrics(numbers(record), record["step"])
        for name, sentence in record.get("alarms", {}).items():
            self._client.set_tag(self._run, f"alarm.{name}", f"step {record['step']}: {sentence}")

    def image(self, name: str, path: Path, step: int) -> None:
        """Log an image as an artifact, in a folder of its name."""
        self._client.log_artifact(self._run, str(path), name)

    def close(self, results: Mapping[str, Any] | None) -> None:
        """Log the results as metrics, or mark a run without results as killed."""
        if results is not None:
            values = {f"results.{name}": value for name, value in numbers_of_results(results).items()}
            self._log_metrics(values, results["run"]["steps"])
        self._client.set_terminated(self._run, "KILLED" if results is None else "FINISHED")

    def _log_metrics(self, values: Mapping[str, float], step: int) -> None:
        milliseconds = int(1000 * time.time())
        metrics = [self._entities.Metric(name, value, milliseconds, step) for name, value in values.items()]
        if metrics:
            self._client.log_batch(self._run, metrics=metrics)
