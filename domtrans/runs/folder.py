"""The run folder: its files, and how they are written, read and kept complete.

``recipe.json``          the whole recipe; ``domtrans train RUN/recipe.json`` trains it again
``data.json``            fingerprint, count and classes of the images that the run trains on and is measured on
``metrics.jsonl``        one JSON object per line: losses by step, and alarms of the health checks
``samples/``             grids of the same source images with G of them
``model.safetensors``    f, its standardisation and the averaged g of the last save, with the recipe in the metadata
``best.safetensors``     the same of the best label-free score so far, with ``train.validate_every``
``training.safetensors`` weights, optimizers and step: what resuming needs
``earlier/``             earlier training states, in case the newest is damaged
``results.json``         the results of the finished run
``examples.safetensors`` test images of the finished run with G of them, and the nearest target images
``report.html``          a page with all of this; ``domtrans report`` writes it again
``identity``             the identity of the run for trackers, if it has any
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
from domtrans.storage import run_files
from domtrans.storage.address import check_local
from domtrans.storage.atomic import UNFINISHED_PREFIX, write_bytes, write_json
from domtrans.storage.tensors import not_finite, read_tensors, write_tensors

log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
"""The file that a process locks while it trains in the folder."""

FORMAT = "domtrans-1"
"""Format version of ``model.safetensors``, ``training.safetensors`` and ``examples.safetensors``."""


class RunFolder:
    """The paths of a run, and methods that read and write its files. A file is replaced completely or not at all.

    Args:
        path: The folder; it need not exist.
        name: What messages call it; by default the path.

    Raises:
        DomtransError: If the path is an address.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        check_local(path, "a run folder")
        self.path = path
        self.name = name or str(path)
        self.recipe_file = path / run_files.RECIPE_FILE
        self.data_file = path / run_files.DATA_FILE
        self.metrics_file = path / run_files.METRICS_FILE
        self.model_file = path / run_files.MODEL_FILE
        self.best_file = path / run_files.BEST_FILE
        self.training_file = path / run_files.TRAINING_FILE
        self.results_file = path / run_files.RESULTS_FILE
        self.examples_file = path / run_files.EXAMPLES_FILE
        self.report_file = path / run_files.REPORT_FILE
        self.samples = path / run_files.SAMPLES_FOLDER
        self.earlier = path / run_files.EARLIER_FOLDER

    @contextmanager
    def open(self, recipe: Recipe, registry: Registry, *, resume: bool, allowed: Sequence[str] = ()) -> Iterator[list[str]]:
        """A block in which this process alone trains in the folder. It creates the folder, or continues its run.

        Args:
            recipe: The recipe. It may differ from that of a run that has not made a step yet.
            registry: The parts.
            resume: Whether there must be a run, and free paths of its recipe may differ.
            allowed: Other paths that may differ.

        Yields:
            The changes at allowed paths.

        Raises:
            DomtransError: If the folder holds a run of another recipe, holds something else, or another process trains in it.
        """
        changed: list[str] = []
        try:
            if self.recipe_file.is_file():
                if resume or self.has_started():
                    before = self._resolved(registry)
                    changed = check_same(self.name, before, recipe, resume=resume, allowed=allowed)
            elif self.path.exists() and not self._is_unused():
                raise DomtransError(f"{self.name} exists and is not a run; choose another folder with --out")
            elif resume:
                raise DomtransError(f"there is no run in {self.name} to resume; leave out --resume to start it")
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DomtransError(
                f"the run folder {self.path} cannot be created: {error.strerror}; choose another with --out"
            ) from None
        with self._locked():
            self._remove_unfinished_files()
            write_bytes(self.recipe_file, recipe.to_json().encode())
            self.samples.mkdir(exist_ok=True)
            yield changed

    def _resolved(self, registry: Registry) -> Recipe:
        """The recipe of the run, with defaults for options that its parts did not have when it was started."""
        recipe = self.recipe()
        try:
            return recipe.resolve(registry)
        except DomtransError:  # a part is missing; the comparison with the new recipe reports it
            return recipe

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DomtransError(
                f"another process is training in {self.name}; wait for it or choose another folder with --out"
            ) from None
        except OSError as error:
            raise DomtransError(f"the run folder {self.path} cannot be written: {error.strerror or error}") from None
        try:
            yield
        finally:
            lock.release()

    def _is_unused(self) -> bool:
        """Whether the folder is empty, or holds only files of a process that was killed before it wrote the recipe."""
        return self.path.is_dir() and all(
            path.name == LOCK_FILE or path.name.startswith(UNFINISHED_PREFIX) for path in self.path.iterdir()
        )

    def check_shared(self) -> None:
        """Raise DomtransError in a process on a machine that does not see the folder of the main process."""
        if not self.recipe_file.is_file():
            raise DomtransError(
                f"the run folder {self.path} does not exist on this machine; use storage that every machine shares"
            )

    @property
    def shared_path(self) -> Path:
        """Where processes on other machines load the run from."""
        return self.path

    def has_started(self) -> bool:
        """Whether the run has made a step."""
        return any(file.is_file() for file in (self.model_file, self.training_file, self.results_file)) or bool(self.metrics())

    def has_training(self) -> bool:
        """Whether there is a training state, valid or not."""
        return any(file.is_file() for file in (self.training_file, *self._earlier_states()))

    def check_not_replaced(self) -> None:
        """Raise DomtransError for a trained run without a training state: it would begin anew and replace its model."""
        files = [file for file in (self.model_file, self.results_file) if os.path.isfile(file)]  # noqa: PTH113 - never raises
        if files and not self.has_training():
            begin = f" (train.begin={self.name} begins with its weights)" if self.model_file in files else ""
            raise DomtransError(
                f"the run in {self.name} has a {files[0].name} but no {self.training_file.name}, so it cannot continue; "
                f"restore that file from a copy, or start another run with --out{begin}"
            )

    def recipe(self) -> Recipe:
        """The recipe of the run; DomtransError if the folder is not a run."""
        try:
            data = json.loads(self.recipe_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DomtransError(f"{self.path} is not a run: it has no recipe.json") from None
        except (OSError, ValueError, RecursionError) as error:
            raise DomtransError(f"{self.recipe_file} cannot be read: {error}") from None
        if not isinstance(data, dict):
            raise DomtransError(f"{self.recipe_file} must hold a table, not {type(data).__name__}")
        return make_recipe(data, str(self.recipe_file))

    def save_data(self, data: Mapping[str, Any]) -> None:
        """Replace data.json with what ``describe_data`` returned."""
        write_json(self.data_file, data)

    def data(self) -> dict[str, Any]:
        """What data.json says about the data of the run; empty if there is no such file."""
        try:
            loaded = json.loads(self.data_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise DomtransError(f"{self.data_file} cannot be read: {error}; restore it from a copy, or remove it") from None
        return loaded if isinstance(loaded, dict) else {}

    def data_of_model(self) -> dict[str, Any]:
        """The fingerprints of the training images in the model file, ``{"source": ..., "target": ...}``; empty without."""
        try:
            with safe_open(self.model_file, framework="pt") as file:
                data = json.loads((file.metadata() or {})["about"])["data"]
        except (OSError, SafetensorError, ValueError, LookupError, TypeError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def save_training(self, state: Mapping[str, Tensor], keep: int = 1, every: int = 1) -> None:
        """Write a training state, and keep earlier ones under ``earlier/``.

        States of later steps are removed: a rollback made them obsolete. All lines of the log so far are on the disk before
        the state is.

        Args:
            state: Tensors by name, with "step".
            keep: Number of states to keep, with this one.
            every: Only states of multiples of this step count and are kept. A state that a stop saved between two of them
                is replaced by the next, so that a rollback finds the same states as without the stop.

        Raises:
            DomtransError: If it cannot be written, e.g. on a full disk; the last state is then unchanged.
        """
        step = int(state["step"])
        earlier = keep - 1 if step % every == 0 else keep
        if earlier and self.training_file.is_file():
            self._keep_current(step, every)
        self._sync_log()
        write_tensors(self.training_file, state, {"format": FORMAT, "step": str(step)})
        kept = [file for file in self._earlier_states() if file.stem < f"step-{step:08d}"][:earlier]
        for file in self._earlier_states():
            if file not in kept:
                file.unlink(missing_ok=True)

    def load_training(self, every: int = 1, before: int | None = None) -> dict[str, Tensor] | None:
        """The newest valid training state.

        Args:
            every: Only states of multiples of this step.
            before: Only states of earlier steps than this.

        Returns:
            Tensors by name; None if there is no such state.

        Raises:
            DomtransError: If there are files but none is valid; it says what is wrong with the newest.
        """
        fault: DomtransError | None = None
        for file in (self.training_file, *self._earlier_states()):
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
                log.warning("%s; continuing from the checkpoint before it, step %d", fault, step)
            return state
        if fault is not None:
            raise fault
        return None

    def _keep_current(self, step: int, every: int) -> None:
        """Link the current state, if it is of an earlier step, under ``earlier/``; it stays in place until it is replaced."""
        try:
            with safe_open(self.training_file, framework="pt") as file:
                current = int((file.metadata() or {}).get("step", 0))
            if current % every or current >= step:
                return
            self.earlier.mkdir(exist_ok=True)
            link = self.earlier / f"step-{current:08d}.safetensors"
            link.unlink(missing_ok=True)
            link.hardlink_to(self.training_file)
        except (OSError, SafetensorError, ValueError) as error:
            log.debug("the earlier training state is not kept: %s", error)  # no hard links here, or it is damaged

    def _earlier_states(self) -> list[Path]:
        """The files of earlier training states, newest first."""
        return sorted(self.earlier.glob("step-*.safetensors"), reverse=True)

    def _remove_unfinished_files(self) -> None:
        """Remove what a killed process was writing."""
        for folder in (self.path, self.samples, self.earlier):
            for leftover in folder.glob(f"{UNFINISHED_PREFIX}*"):
                leftover.unlink(missing_ok=True)

    def save_model(
        self, weights: Mapping[str, Tensor], recipe: Recipe, about: Mapping[str, Any], *, best: bool = False
    ) -> None:
        """Replace the model file, or the best one. It holds all that ``load`` needs.

        Args:
            weights: Tensors of f, its standardisation and g by name.
            recipe: The recipe.
            about: Where the model comes from, as JSON can hold it.
            best: Write ``best.safetensors``.
        """
        metadata = {"format": FORMAT, "recipe": recipe.to_json(), "about": json.dumps(about)}
        write_tensors(self.best_file if best else self.model_file, weights, metadata)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        try:
            with self.metrics_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise DomtransError(f"{self.metrics_file} cannot be written: {error.strerror}") from None

    def _sync_log(self) -> None:
        """Wait until metrics.jsonl is on the disk: a run that resumes needs the lines before its state."""
        try:
            with self.metrics_file.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise DomtransError(f"{self.metrics_file} cannot be written: {error.strerror}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, up to the first that a crash left incomplete."""
        if not self.metrics_file.is_file():
            return []
        records = []
        for line in self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                complete = all(isinstance(record[key], int | float) for key in ("step", "seconds"))
            except (ValueError, TypeError, LookupError, RecursionError):
                break
            if not complete:
                break
            records.append(record)
        return records

    def seconds(self) -> float:
        """Seconds in the training loop so far, over all processes that continued the run."""
        records = self.metrics()
        return float(records[-1]["seconds"]) if records else 0.0

    def rewind(self, step: int) -> None:
        """Remove the lines of metrics.jsonl after ``step``, because the run continues there and writes them again."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_bytes(self.metrics_file, "".join(json.dumps(record) + "\n" for record in kept).encode())

    def save_sample(self, step: int, png: bytes) -> Path:
        """Write the sample grid of a step and return its path."""
        path = self.samples / f"step-{step:06d}.png"
        write_bytes(path, png)
        return path

    def sample_grids(self) -> dict[int, Path]:
        """The sample grids by step, in order."""
        names = {file: file.stem.removeprefix("step-") for file in self.samples.glob("step-*.png")}
        return dict(sorted((int(step), file) for file, step in names.items() if step.isdecimal()))

    def newest_sample(self) -> Path | None:
        """The sample grid of the last step that has one; None if there is none."""
        return next(reversed(self.sample_grids().values()), None)

    def save_results(self, results: Mapping[str, Any]) -> None:
        """Replace results.json."""
        write_json(self.results_file, results)

    def results(self) -> dict[str, Any] | None:
        """The results of the finished run, as ``read_results``; None also if they cannot be read."""
        try:
            return self.read_results()
        except DomtransError:
            return None

    def read_results(self) -> dict[str, Any] | None:
        """The results of the finished run, in sections even if they were written without; None before it is finished.

        Raises:
            DomtransError: If there is a results.json that cannot be read.
        """
        try:
            loaded = json.loads(self.results_file.read_text(encoding="utf-8"))
            if not isinstance(loaded, dict):
                raise ValueError(f"it holds {type(loaded).__name__} instead of a table")
            return loaded | in_sections(loaded)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, TypeError, AttributeError) as error:
            raise DomtransError(
                f"{self.results_file} cannot be read: {error}; restore it from a copy, or measure the run again with "
                f"`domtrans train {self.name} --resume`"
            ) from None


def default_folder(name: str) -> Path:
    """``runs/NAME`` for the name of a recipe; DomtransError for a name that is a path, which a file from others may have."""
    if name in ("", ".", "..") or name != Path(name).name or not name.isprintable():
        raise DomtransError(f"the recipe's name '{name[:100]}' cannot name a folder under runs/; choose one with --out")
    return Path("runs") / name


def check_format(about: Mapping[str, str], path: Path) -> None:
    """Raise DomtransError unless the metadata of a file names this format."""
    if about.get("format") != FORMAT:
        found = about.get("format", "none")
        raise DomtransError(f"{path} was not written by this version of domtrans (format {found}, wanted {FORMAT})")


def _check_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise DomtransError for a training state without a step or with numbers that are not finite."""
    step = state.get("step", torch.tensor(-1))
    if step.ndim or step.dtype != torch.int64 or step < 0:
        raise DomtransError(f"{path} has no valid step; use an earlier checkpoint")
    bad = not_finite(state)
    if bad:
        raise DomtransError(f"{path} holds numbers that are not finite, in {bad[:200]}; use an earlier checkpoint")


def versions() -> dict[str, str]:
    """The versions that results may depend on: domtrans, torch and Python."""
    try:
        own = metadata.version("domtrans")
    except metadata.PackageNotFoundError:
        own = "unknown"
    return {"domtrans": own, "torch": torch.__version__, "python": platform.python_version()}
