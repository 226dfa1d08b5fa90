"""The folder of a run: what is in it, how it is opened, and how it is kept whole.

``recipe.json``          the whole recipe; ``domtrans train RUN/recipe.json`` repeats it
``metrics.jsonl``        one JSON object a line: losses by step, and what the health watch said
``samples/``             grids of the same source images every time
``model.safetensors``    f, its standardisation and the averaged g; the recipe rides inside
``best.safetensors``     the same at the best validation score so far, where the recipe validates
``training.safetensors`` weights, optimizers and step: what resuming needs
``earlier/``             the training states before it, in case it is damaged
``results.json``         figures of the finished run
``examples.safetensors`` some test images of the finished run, what became of them, and the nearest real images
``report.html``          all of this to look at; ``domtrans report`` writes it anew
``identity``             under which name trackers know the run, where there are any
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor

from domtrans.errors import DomtransError
from domtrans.evaluation.results import in_sections
from domtrans.recipe.schema import Recipe, make_recipe
from domtrans.registry.registry import Registry
from domtrans.runs.resume import check_same
from domtrans.storage.atomic import UNFINISHED_PREFIX, write_bytes, write_json
from domtrans.storage.tensors import not_finite, read_tensors, write_tensors

log = logging.getLogger(__name__)

LOCK = ".lock"
"""Name of the file that a process holds while it trains into the folder."""

FORMAT = "domtrans-1"
"""Version of the layout of ``model.safetensors`` and ``training.safetensors``."""


class RunFolder:
    """Paths of a run and the writing of its files. Every file is replaced whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.json"
        self.metrics_file = path / "metrics.jsonl"
        self.model_file = path / "model.safetensors"
        self.best_file = path / "best.safetensors"
        self.training_file = path / "training.safetensors"
        self.results_file = path / "results.json"
        self.examples_file = path / "examples.safetensors"
        self.report_file = path / "report.html"
        self.samples = path / "samples"
        self.earlier = path / "earlier"

    @contextmanager
    def open(self, recipe: Recipe, registry: Registry, *, resume: bool, allowed: Sequence[str] = ()) -> Iterator[list[str]]:
        """Make the folder, or take it up again if it holds the same recipe, and keep other processes out meanwhile.

        A folder whose run never came as far as a step, e.g. for want of its data, may be given another recipe. ``allowed``:
        paths that may differ besides the free ones; gives what of them does.
        Raises DomtransError if it holds another recipe, is no run, or is being trained into.
        """
        changed: list[str] = []
        try:
            if self.recipe_file.is_file():
                if resume or self._has_begun():
                    before = self._resolved(registry)
                    changed = check_same(self.path, before, recipe, resume=resume, allowed=allowed)
            elif self.path.exists() and not self._is_bare():
                raise DomtransError(f"{self.path} exists and is no run; choose another folder with --out")
            elif resume:
                raise DomtransError(f"there is no run in {self.path} to resume; leave out --resume to start it")
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DomtransError(
                f"the run folder {self.path} cannot be made: {error.strerror}; choose another with --out"
            ) from None
        with self._locked():
            self._sweep()
            write_bytes(self.recipe_file, recipe.to_json().encode())
            self.samples.mkdir(exist_ok=True)
            yield changed

    def _resolved(self, registry: Registry) -> Recipe:
        """The recipe of the run, with the defaults of options that its parts did not have yet when it was begun."""
        found = self.recipe()
        try:
            return found.resolve(registry)
        except DomtransError:  # a part has gone: the comparison says so
            return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DomtransError(
                f"another process is training in {self.path}; wait for it or choose another folder with --out"
            ) from None
        except OSError as error:
            raise DomtransError(f"the run folder {self.path} cannot be written: {error.strerror or error}") from None
        try:
            yield
        finally:
            lock.release()

    def _is_bare(self) -> bool:
        """Whether the folder holds nothing, or what a process leaves that was killed before it had written the recipe."""
        return self.path.is_dir() and all(
            path.name == LOCK or path.name.startswith(UNFINISHED_PREFIX) for path in self.path.iterdir()
        )

    def _has_begun(self) -> bool:
        return any(file.is_file() for file in (self.model_file, self.training_file, self.results_file)) or bool(self.metrics())

    def recipe(self) -> Recipe:
        """The recipe of the run; raises DomtransError if the folder is no run."""
        try:
            data = json.loads(self.recipe_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DomtransError(f"{self.path} is no run: it has no recipe.json") from None
        except (OSError, ValueError, RecursionError) as error:
            raise DomtransError(f"{self.recipe_file} cannot be read: {error}") from None
        if not isinstance(data, dict):
            raise DomtransError(f"{self.recipe_file} must hold a table, not {type(data).__name__}")
        return make_recipe(data, str(self.recipe_file))

    def save_training(self, state: Mapping[str, Tensor], keep: int = 1, every: int = 1) -> None:
        """Write a new training state; those before it stay under ``earlier/``, with it ``keep`` in all.

        Only states of every ``every``-th step are counted and kept there: one that a stop left in between comes on top and
        is replaced by the next, so that a rollback finds what it would have found without the stop. Behind a state that a
        rollback went to, none stays. The log up to here is on the disk before the state is.
        A full disk or a vanished folder raises DomtransError, and the last save stays as it is.
        """
        step = int(state["step"])
        left = keep - 1 if step % every == 0 else keep
        if left and self.training_file.is_file():
            self._set_aside(step, every)
        self._settle_log()
        write_tensors(self.training_file, state, {"format": FORMAT, "step": str(step)})
        before = [old for old in self._earlier() if old.stem < f"step-{step:08d}"][:left]
        for old in self._earlier():
            if old not in before:
                old.unlink(missing_ok=True)

    def load_training(self, every: int = 1, before: int | None = None) -> dict[str, Tensor] | None:
        """The newest training state that is whole, of a step that ``every`` divides and below ``before``; None before any.

        Raises DomtransError, saying what is wrong with the newest, if there are saves but none is whole.
        """
        fault: DomtransError | None = None
        for file in (self.training_file, *self._earlier()):
            if not file.is_file():
                continue
            try:
                state, about = read_tensors(file, require_checksum=True)
                check_format(about, file)
                _check_state(state, file)
            except DomtransError as error:
                fault = fault or error
                continue
            step = int(state["step"])
            if step % every or (before is not None and step >= before):
                continue
            if fault is not None:
                log.warning("%s; going on from the save before it, step %d", fault, step)
            return state
        if fault is not None:
            raise fault
        return None

    def _set_aside(self, step: int, every: int) -> None:
        """Link the present state, if it is from before ``step``, under ``earlier/``: in its place until the next is whole."""
        try:
            with safe_open(self.training_file, framework="pt") as file:
                present = int((file.metadata() or {}).get("step", 0))
            if present % every or present >= step:
                return
            self.earlier.mkdir(exist_ok=True)
            aside = self.earlier / f"step-{present:08d}.safetensors"
            aside.unlink(missing_ok=True)
            aside.hardlink_to(self.training_file)
        except (OSError, SafetensorError, ValueError) as error:
            log.debug("the training state before this one is not kept: %s", error)  # no links here, or it was damaged

    def _earlier(self) -> list[Path]:
        """Training states before the newest, newest first."""
        return sorted(self.earlier.glob("step-*.safetensors"), reverse=True)

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for folder in (self.path, self.samples, self.earlier):
            for leftover in folder.glob(f"{UNFINISHED_PREFIX}*"):
                leftover.unlink(missing_ok=True)

    def save_model(
        self, weights: Mapping[str, Tensor], recipe: Recipe, about: Mapping[str, Any], *, best: bool = False
    ) -> None:
        """Replace the model, or the best one; it carries all that ``load`` needs."""
        metadata = {"format": FORMAT, "recipe": recipe.to_json(), "about": json.dumps(about)}
        write_tensors(self.best_file if best else self.model_file, weights, metadata)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        try:
            with self.metrics_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise DomtransError(f"{self.metrics_file} cannot be written: {error.strerror}") from None

    def _settle_log(self) -> None:
        """Wait until every line of metrics.jsonl is on the disk: a run that goes on from a save needs those before it."""
        try:
            with self.metrics_file.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise DomtransError(f"{self.metrics_file} cannot be written: {error.strerror}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line cut short by a crash is left out."""
        if not self.metrics_file.is_file():
            return []
        records = []
        for line in self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                whole = all(isinstance(record[key], int | float) for key in ("step", "seconds"))
            except (ValueError, TypeError, LookupError, RecursionError):
                break
            if not whole:
                break
            records.append(record)
        return records

    def seconds(self) -> float:
        """Time spent in the training loop so far, over all its sittings."""
        records = self.metrics()
        return float(records[-1]["seconds"]) if records else 0.0

    def rewind(self, step: int) -> None:
        """Drop lines of metrics.jsonl from after ``step``: the run goes on from there and writes them again."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_bytes(self.metrics_file, "".join(json.dumps(record) + "\n" for record in kept).encode())

    def save_sample(self, step: int, png: bytes) -> Path:
        """Write the sample grid of a step and return its path."""
        path = self.samples / f"step-{step:06d}.png"
        write_bytes(path, png)
        return path

    def save_results(self, results: Mapping[str, Any]) -> None:
        """Replace results.json."""
        write_json(self.results_file, results)

    def results(self) -> dict[str, Any] | None:
        """The results of the finished run, in sections even if they were written without; None before it is finished."""
        try:
            loaded = json.loads(self.results_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return loaded | in_sections(loaded) if isinstance(loaded, dict) else None


def default_folder(name: str) -> Path:
    """``runs/NAME`` for a recipe's name; DomtransError for one that would lead elsewhere, as a stranger's file may."""
    if name in ("", ".", "..") or name != Path(name).name or not name.isprintable():
        raise DomtransError(f"the recipe's name '{name[:100]}' cannot name a folder under runs/; choose one with --out")
    return Path("runs") / name


def check_format(about: Mapping[str, str], path: Path) -> None:
    """Raise DomtransError unless the file's metadata says that domtrans wrote it."""
    if about.get("format") != FORMAT:
        found = about.get("format", "none")
        raise DomtransError(f"{path} was not written by this version of domtrans (format {found}, wanted {FORMAT})")


def _check_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise DomtransError for a training state that domtrans would not have written."""
    step = state.get("step", torch.tensor(-1))
    if step.ndim or step.dtype != torch.int64 or step < 0:
        raise DomtransError(f"{path} does not say at which step it was saved; use an earlier save")
    bad = not_finite(state)
    if bad:
        raise DomtransError(f"{path} holds numbers that are not finite, in {bad[:200]}; use an earlier save")


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    try:
        own = metadata.version("domtrans")
    except metadata.PackageNotFoundError:
        own = "unknown"
    return {"domtrans": own, "torch": torch.__version__, "python": platform.python_version()}
