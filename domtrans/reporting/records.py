"""What the folder of a run has to say, read once. Missing pieces are named, not fatal: a run may be young, or old."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domtrans.errors import DomtransError
from domtrans.recipe.schema import Recipe
from domtrans.runs.examples import Examples, read_examples
from domtrans.runs.folder import RunFolder
from domtrans.storage.paths import why_no_folder
from domtrans.storage.tensors import open_tensors


@dataclass(frozen=True)
class Record:
    """A run, finished or not.

    ``log``: the lines of metrics.jsonl. ``results``: empty until it is finished. ``about``: what its model says of where it
    comes from, empty without one. ``gaps``: what could not be read, each with the reason.
    """

    name: str
    path: Path
    recipe: Recipe
    log: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    about: Mapping[str, Any]
    examples: Examples | None
    samples: Mapping[int, Path]
    gaps: Sequence[str]

    @property
    def step(self) -> int:
        """How far the log goes."""
        return int(self.log[-1]["step"]) if self.log else 0

    def events(self) -> list[dict[str, Any]]:
        """What the health watch said and what was changed on the way: ``step``, ``seconds``, ``name``, ``says``."""
        found = []
        for line in self.log:
            said = [(str(name), str(says)) for name, says in _table(line.get("alarms")).items()]
            said += [("changed", str(change)) for change in line.get("changed", ())]
            when = {"step": line["step"], "seconds": line["seconds"]}
            found += [when | {"name": name, "says": says} for name, says in said]
        return found


def read_records(paths: Sequence[Path]) -> list[Record]:
    """The runs in some folders, each under a name of its own. Raises DomtransError naming the first that is no run."""
    names = [path.resolve().name for path in paths]
    return [_read(path, name if names.count(name) == 1 else str(path)) for path, name in zip(paths, names, strict=True)]


def _read(path: Path, name: str) -> Record:
    if not path.is_dir():
        raise DomtransError(f"there is no run in {path}: {why_no_folder(path)}")
    folder, gaps = RunFolder(path), list[str]()
    recipe = folder.recipe()
    examples, about = None, dict[str, Any]()
    try:
        about = _about(folder.model_file) if folder.model_file.is_file() else {}
        examples = read_examples(folder.examples_file) if folder.examples_file.is_file() else None
    except DomtransError as fault:
        gaps.append(str(fault))
    samples = {int(file.stem[5:]): file for file in folder.samples.glob("step-*.png") if file.stem[5:].isdecimal()}
    log = [line for line in folder.metrics() if math.isfinite(line["step"]) and math.isfinite(line["seconds"])]
    return Record(name, path, recipe, log, folder.results() or {}, about, examples, dict(sorted(samples.items())), gaps)


def _about(file: Path) -> dict[str, Any]:
    """What a model file says of itself; its weights are not read."""
    with open_tensors(file) as tensors:
        try:
            return _table(json.loads(tensors.metadata.get("about", "{}")))
        except (ValueError, RecursionError) as error:
            raise DomtransError(f"{file} does not say where it comes from: {error}") from None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
