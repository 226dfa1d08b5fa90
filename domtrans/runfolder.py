"""The folder of a run: what is in it, how it is opened, and how it is kept whole.

``recipe.json``          the whole recipe; ``domtrans train RUN/recipe.json`` repeats it
``metrics.jsonl``        one JSON object a line: losses by step, and what the health watch said
``samples/``             grids of the same source images every time
``model.safetensors``    f, its standardisation and the averaged g; the recipe rides inside
``best.safetensors``     the same at the best validation score so far, where the recipe validates
``training.safetensors`` weights, optimizers and step: what resuming needs
``earlier/``             the training states before it, in case it is damaged
``results.json``         figures of the finished run
"""

from __future__ import annotations

import json
import logging
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
from domtrans.overrides import differences
from domtrans.recipe import Recipe, make_recipe
from domtrans.tensors import BESIDE, not_finite, read_tensors, write_bytes, write_json, write_tensors

log = logging.getLogger(__name__)

FORMAT = "domtrans-1"
"""Version of the layout of ``model.safetensors`` and ``training.safetensors``."""

MAY_CHANGE = ("train", "generator_losses", "discriminator_losses", "view", "discriminator_view", "metrics", "description")
"""What may also differ when the change is named (``--allow-changes``): the saved weights and moments still fit."""
NEVER_CHANGE = ("train.generator_optimizer.name", "train.discriminator_optimizer.name")
"""Another optimizer has no use for the saved moments."""

FREE_TO_CHANGE = ("train.steps", "train.log_every", "train.save_every", "train.sample_every", "train.keep")
"""Paths that may differ when a run goes on with ``resume``; any other change would make it another experiment."""


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
        self.samples = path / "samples"
        self.earlier = path / "earlier"

    @contextmanager
    def open(self, recipe: Recipe, *, resume: bool, allowed: Sequence[str] = ()) -> Iterator[list[str]]:
        """Make the folder, or take it up again if it holds the same recipe, and keep other processes out meanwhile.

        A folder whose run never came as far as a step, e.g. for want of its data, may be given another recipe. ``allowed``:
        paths that may differ besides the free ones; gives what of them does.
        Raises DomtransError if it holds another recipe, is no run, or is being trained into.
        """
        changed: list[str] = []
        try:
            if self.recipe_file.is_file():
                if resume or self._has_begun():
                    changed = self._check_same(recipe, resume, allowed)
            elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise DomtransError(f"{self.path} exists and is no run; choose another folder with --out")
            elif resume:
                raise DomtransError(f"there is no run in {self.path} to resume; leave out --resume to start it")
            self.samples.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DomtransError(
                f"the run folder {self.path} cannot be made: {error.strerror}; choose another with --out"
            ) from None
        with self._locked():
            self._sweep()
            write_bytes(self.recipe_file, recipe.to_json().encode())
            yield changed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path / ".lock")
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

    def _has_begun(self) -> bool:
        return any(file.is_file() for file in (self.model_file, self.training_file, self.results_file)) or bool(self.metrics())

    def _check_same(self, recipe: Recipe, resume: bool, allowed: Sequence[str]) -> list[str]:
        """The changes that are allowed by name; raises DomtransError for any other that is not free."""
        changed = differences(self.recipe(), recipe)
        if resume:
            changed = [change for change in changed if change.partition(":")[0] not in FREE_TO_CHANGE]
        named = [change for change in changed if under_any(change.partition(":")[0], allowed)]
        changed = [change for change in changed if change not in named]
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            hint = " (or go on with it all the same: --resume --allow-changes path=value, naming each)"
            mendable = all(may_change(change.partition(":")[0]) for change in changed)
            raise DomtransError(
                f"{self.path} holds a run of another recipe ({'; '.join(changed[:3])}{more}); choose another folder with --out"
                f"{hint if mendable else ''}"
            )
        return named

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
        """Write a new training state; of those before it the newest ``keep - 1`` stay under ``earlier/``.

        Only states of every ``every``-th step are kept there: one that a stop left in between is replaced, so that a
        rollback finds what it would have found without the stop.
        A full disk or a vanished folder raises DomtransError, and the last save stays as it is.
        """
        if keep > 1 and self.training_file.is_file():
            self._set_aside(every)
        write_tensors(self.training_file, state, {"format": FORMAT, "step": str(int(state["step"]))})
        for old in self._earlier()[keep - 1 :]:
            old.unlink(missing_ok=True)

    def load_training(self, every: int = 1) -> dict[str, Tensor] | None:
        """The newest training state that is whole, and if there is one of a step that ``every`` divides; None before any.

        Raises DomtransError, saying what is wrong with the newest, if there are saves but none is whole.
        """
        fault: DomtransError | None = None
        other: dict[str, Tensor] | None = None
        for file in (self.training_file, *self._earlier()):
            if not file.is_file():
                continue
            try:
                state, about = read_tensors(file, own=True)
                check_format(about, file)
                _check_state(state, file)
            except DomtransError as error:
                fault = fault or error
                continue
            if int(state["step"]) % every:
                other = other or state
                continue
            if fault is not None:
                log.warning("%s; going on from the save before it, step %d", fault, int(state["step"]))
            return state
        if other is None and fault is not None:
            raise fault
        return other

    def _set_aside(self, every: int) -> None:
        """Link the present state under ``earlier/``: it stays in its place until the next one is whole."""
        try:
            self.earlier.mkdir(exist_ok=True)
            with safe_open(self.training_file, framework="pt") as file:
                step = int((file.metadata() or {}).get("step", 0))
            if step % every:
                return
            aside = self.earlier / f"step-{step:08d}.safetensors"
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
            for leftover in folder.glob(f"{BESIDE}*"):
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

    def save_sample(self, name: str, picture: bytes) -> Path:
        """Write a grid; returns its path."""
        path = self.samples / f"{name}.png"
        write_bytes(path, picture)
        return path

    def save_results(self, results: Mapping[str, Any]) -> None:
        """Replace results.json."""
        write_json(self.results_file, results)

    def results(self) -> dict[str, Any] | None:
        """Figures of the finished run, or None."""
        try:
            loaded = json.loads(self.results_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return loaded if isinstance(loaded, dict) else None


def default_folder(name: str) -> Path:
    """``runs/NAME`` for a recipe's name; DomtransError for one that would lead elsewhere, as a stranger's file may."""
    if name in ("", ".", "..") or name != Path(name).name or not name.isprintable():
        raise DomtransError(f"the recipe's name '{name[:100]}' cannot name a folder under runs/; choose one with --out")
    return Path("runs") / name


def may_change(path: str) -> bool:
    """Whether a run may go on with another value at this path, if the change is named."""
    return under_any(path, MAY_CHANGE) and not under_any(path, NEVER_CHANGE)


def under_any(path: str, tops: Sequence[str]) -> bool:
    """Whether a path of a recipe is one of those given or lies below one."""
    return any(path == top or path.startswith(f"{top}.") for top in tops)


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
