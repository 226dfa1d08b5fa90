"""The content of a run folder, read once. Missing or damaged files are named, because a run may be young, or old."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.schema import Recipe
from domtrans.runs.examples import Examples, read_examples
from domtrans.runs.folder import RunFolder
from domtrans.storage.paths import why_no_run
from domtrans.storage.tensors import open_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A run, finished or not.

    Args:
        name: A unique name among the runs of a report.
        path: The run folder.
        recipe: The recipe, as the folder holds it.
        log: The lines of metrics.jsonl.
        results: The content of results.json; empty until the run is finished.
        about: The provenance in the model file; empty without one.
        examples: Example images, if the run has some.
        samples: Files of sample grids, by step.
        faults: One sentence for each file that could not be read.
    """

    name: str
    path: Path
    recipe: Recipe
    log: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    about: Mapping[str, Any]
    examples: Examples | None
    samples: Mapping[int, Path]
    faults: Sequence[str]

    @property
    def step(self) -> int:
        """The last step in the log; 0 without a log."""
        return int(self.log[-1]["step"]) if self.log else 0

    def events(self) -> list[dict[str, Any]]:
        """Alarms of the health watch and changes of the recipe, in order: ``step``, ``seconds``, ``name``, ``text``."""
        events = []
        for line in self.log:
            texts = [(str(name), str(text)) for name, text in _table(line.get("alarms")).items()]
            texts += [("changed", str(change)) for change in line.get("changed", ())]
            when = {"step": line["step"], "seconds": line["seconds"]}
            events += [when | {"name": name, "text": text} for name, text in texts]
        return events


def read_records(paths: Sequence[Path]) -> list[Record]:
    """Read the runs in some folders, each with a unique name.

    Raises:
        DomtransError: If a folder is not a run.
    """
    names = [path.resolve().name for path in paths]
    return [_read(path, name if names.count(name) == 1 else str(path)) for path, name in zip(paths, names, strict=True)]


def _read(path: Path, name: str) -> Record:
    if not path.is_dir():
        raise DomtransError(f"there is no run in {path}: {why_no_run(path)}")
    folder, faults = RunFolder(path), list[str]()
    recipe = folder.recipe()
    examples, about = None, dict[str, Any]()
    try:
        about = _about(folder.model_file) if folder.model_file.is_file() else {}
        examples = read_examples(folder.examples_file) if folder.examples_file.is_file() else None
    except DomtransError as fault:
        faults.append(str(fault))
    results: dict[str, Any] = {}
    try:
        results = folder.read_results() or {}
    except DomtransError as fault:
        faults.append(str(fault))
    for sentence in faults:
        log.warning("%s", sentence)
    lines = [line for line in folder.metrics() if math.isfinite(line["step"]) and math.isfinite(line["seconds"])]
    return Record(name, path, recipe, lines, results, about, examples, folder.sample_grids(), faults)


def _about(file: Path) -> dict[str, Any]:
    """The provenance in a model file; its weights are not read."""
    with open_tensors(file) as tensors:
        try:
            return _table(json.loads(tensors.metadata.get("about", "{}")))
        except (ValueError, RecursionError) as error:
            raise DomtransError(f"the provenance in {file} cannot be read: {error}") from None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
