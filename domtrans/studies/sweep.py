"""``sweep``: search for options of a recipe that are best by a value of its log, without labels or test images.

Optuna proposes the values. Any number of processes can work on one sweep: they share the folder.

``sweep.json``        the recipe, the search space, and the value to search by
``sweep.db``          the trials, in Optuna's SQLite format
``trial-000/``        the run folder of a trial
``table.md``, ``trials.png``, ``table.json``  the trials so far, best first
"""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from domtrans.data.batches import derive_seed
from domtrans.errors import DomtransError, Stopped
from domtrans.evaluation.label_free_score import SCORE
from domtrans.evaluation.leak_guard import check_search_value
from domtrans.evaluation.metric_rows import declared_values
from domtrans.optional import require_extra
from domtrans.progress.display import with_display
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from domtrans.recipe.schema import Recipe
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.folder import RunFolder
from domtrans.session import Listeners, Progress, as_listeners
from domtrans.studies.folder import claim
from domtrans.studies.search_space import all_combinations, split_space
from domtrans.studies.sweep_table import STATES, table_rows, write_tables
from domtrans.training.train import train

VALIDATIONS = 10
"""Label-free scores per run, if the recipe has none."""
LEAST_TRIALS = 4
"""Trials that are trained to the end before one is stopped early for being worse."""


class Sweep:
    """A search in a folder, to be run trial by trial. The parameters are those of ``sweep``.

    Raises:
        DomtransError: If a path or value is wrong, ``by`` is not in the log, or the folder holds something else.
    """

    def __init__(
        self,
        recipe: Recipe | str,
        changes: Sequence[str],
        out: str | Path | None = None,
        *,
        trials: int = 20,
        by: str = SCORE,
        early_stop: bool = True,
        device: str = "auto",
        registry: Registry | None = None,
    ) -> None:
        if trials < 1:
            raise DomtransError(f"a sweep needs at least one trial, not {trials}")
        self.optuna = require_extra("optuna", "sweep", "a sweep")
        self.registry, self.by, self.device = registry or load_plugins().registry, by, device
        self.space, fixed = split_space(changes)
        base = find_recipe(recipe, self.registry, fixed) if isinstance(recipe, str) else override(recipe, fixed, self.registry)
        networks = {"generator": base.generator_losses, "discriminator": base.discriminator_losses}
        losses = [f"{network}.{name}" for network, terms in networks.items() for name in terms]
        check_search_value(by, losses, [*base.metrics, *declared_values(self.registry, base)])
        self.command = ["domtrans", "train", recipe if isinstance(recipe, str) else base.name, *fixed]
        """What trains the recipe with its metrics; the changes of a trial follow."""
        # No trial is measured on test images, so nobody can choose among the trials by their results.
        self.recipe = base.model_copy(update={"metrics": {}})
        if by.startswith("validation.") and not base.train.validate_every:
            every = max(1, base.train.steps // VALIDATIONS)
            self.recipe = override(self.recipe, {"train.validate_every": every}, self.registry)
        for dimension in self.space:
            for value in dimension.ends():
                override(self.recipe, [dimension.change(value)], self.registry)
        self.trials, self.combinations = trials, all_combinations(self.space, trials)
        self.path = Path(out) if out is not None else Path("runs") / f"sweep-{base.name}"
        space = [change for change in changes if change not in fixed]
        claim(self.path, "sweep.json", {"recipe": self.recipe.model_dump(mode="json"), "space": space, "by": by}, "a sweep")
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        pruners = self.optuna.pruners
        with self._alone():
            self.study = self.optuna.create_study(
                storage=f"sqlite:///{(self.path / 'sweep.db').resolve()}",
                study_name="sweep",
                load_if_exists=True,
                direction="maximize" if self.maximises else "minimize",
                pruner=pruners.MedianPruner(n_startup_trials=LEAST_TRIALS) if early_stop else pruners.NopPruner(),
            )

    @property
    def maximises(self) -> bool:
        """Whether a higher value is better: a score; a loss is better if it is lower."""
        return self.by.startswith("validation.")

    @contextmanager
    def next_trial(self) -> Iterator[Any]:
        """A block in which this process alone works on a trial: one that was stopped or killed, or a new one.

        Yields:
            Optuna's trial; None if all trials are done or others work on them.
        """
        with self._alone():
            trial, lock = self._unfinished_trial() or self._new_trial() or (None, None)
            if trial is not None:
                for dimension in self.space:  # for one that was killed before it had all of its values
                    dimension.suggest(trial)
        try:
            yield trial
        finally:
            if lock is not None:
                lock.release()

    def run(self, trial: Any, *, listeners: Listeners = (), stop: threading.Event | None = None) -> None:
        """Train a trial, and tell Optuna its value. It ends early if it is worse than half of the others.

        Raises:
            Stopped: When ``stop`` is set; the trial is saved, and the next call of ``next_trial`` continues it.
            DomtransError: If no trial has been trained yet, and this one fails.
        """
        changes, stop_trial = self.changes(trial.params), _TrialStop(stop or threading.Event())
        reported = set(self.study.trials[trial.number].intermediate_values)

        def report(progress: Progress) -> None:
            value = progress.values.get(self.by)
            if progress.phase == "train" and value is not None and math.isfinite(value) and progress.step not in reported:
                trial.report(value, progress.step)
                if trial.should_prune() and progress.step < progress.steps:
                    stop_trial.set()

        states = self.optuna.trial.TrialState
        try:
            train(
                override(self.recipe, changes, self.registry),
                self.folder(trial.number),
                device=self.device,
                registry=self.registry,
                progress=False,
                listeners=(*as_listeners(listeners), report),
                stop=stop_trial,
            )
        except Stopped:
            if stop_trial.outer.is_set():
                raise
            self.study.tell(trial.number, state=states.PRUNED)
        except DomtransError as error:
            if not self.count("COMPLETE", "PRUNED"):
                raise  # most likely the next trials would fail in the same way
            trial.set_user_attr("error", str(error))
            self.study.tell(trial.number, state=states.FAIL)
        else:
            self._tell_value(trial)

    def folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.path / f"trial-{number:03}"

    def changes(self, parameters: Mapping[str, Any]) -> list[str]:
        """The changes to the recipe that a trial makes."""
        return [dimension.change(parameters[dimension.path]) for dimension in self.space]

    def count(self, *names: str) -> int:
        """How many trials are in these states of Optuna, e.g. "COMPLETE"."""
        return sum(trial.state.name in names for trial in self.study.trials)

    def outcome(self, number: int) -> str:
        """One line about a trial that has ended."""
        trial = self.study.trials[number]
        if trial.state.name == "COMPLETE":
            return f"trial {number}: {self.by} {trial.value:.4g}"
        reason = trial.user_attrs.get("error", f"at step {max(trial.intermediate_values, default=0)}")
        return f"trial {number} {STATES[trial.state.name]}: {reason}"

    def write(self, *, picture: bool = True) -> dict[str, Any]:
        """Write the table and the picture of the trials so far; returns the content of ``table.json``."""
        rows = table_rows(self.study.trials, highest_first=self.maximises)
        best = rows[0] if rows and rows[0]["value"] is not None else None
        data = {
            "recipe": self.recipe.name,
            "by": self.by,
            "direction": "highest" if self.maximises else "lowest",
            "paths": [dimension.path for dimension in self.space],
            "logarithmic": [dimension.path for dimension in self.space if getattr(dimension, "log", False)],
            "trials": rows,
            "command": best and shlex.join([*self.command, *self.changes(best["changes"])]),
        }
        with self._alone():
            write_tables(self.path, data, picture=picture)
        return data

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A block that one process at a time may be in."""
        with FileLock(self.path / ".lock"):
            yield

    def _unfinished_trial(self) -> tuple[Any, FileLock] | None:
        """A trial that nobody works on, because its process was stopped or killed, and the lock that keeps it for us."""
        for trial in self.study.trials:
            if trial.state.name == "RUNNING" and (lock := self._lock(trial.number)) is not None:
                return self.optuna.trial.Trial(self.study, trial._trial_id), lock
        return None

    def _new_trial(self) -> tuple[Any, FileLock] | None:
        tried = [trial.params for trial in self.study.trials]
        left = None if self.combinations is None else [values for values in self.combinations if values not in tried]
        number = len(tried)
        if number >= self.trials or left == []:
            return None
        if left:
            self.study.enqueue_trial(left[0])
        # A sampler of its own for every trial, so that it does not matter which process asks for it.
        self.study.sampler = self.optuna.samplers.TPESampler(seed=derive_seed(self.recipe.seed, "sweep", number) % 2**32)
        lock = self._lock(number)
        assert lock is not None  # processes ask for trials one at a time
        return self.study.ask(), lock

    def _lock(self, number: int) -> FileLock | None:
        lock = FileLock(self.path / f".trial-{number:03}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _tell_value(self, trial: Any) -> None:
        values = [line[self.by] for line in RunFolder(self.folder(trial.number)).metrics() if self.by in line]
        if values and math.isfinite(values[-1]):
            self.study.tell(trial.number, values[-1])
        else:
            trial.set_user_attr("error", f"the log has no value of {self.by}")
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)


class _TrialStop(threading.Event):
    """Stops one trial; also set while the event is that stops the sweep."""

    def __init__(self, outer: threading.Event) -> None:
        super().__init__()
        self.outer = outer

    def is_set(self) -> bool:
        return super().is_set() or self.outer.is_set()


def sweep(
    recipe: Recipe | str,
    changes: Sequence[str],
    out: str | Path | None = None,
    *,
    trials: int = 20,
    by: str = SCORE,
    early_stop: bool = True,
    device: str = "auto",
    registry: Registry | None = None,
    progress: bool | None = None,
    listeners: Listeners = (),
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Search for the options of a recipe that are best by a value of its log. Test images are not measured.

    Args:
        recipe: A recipe, the name of a registered one, or a file.
        changes: The search space, as ``"path=1,2,4"``, ``"path=range(0.1,0.9)"`` or ``"path=log(1e-5,1e-2)"``, and plain
            ``"path=value"`` changes for all trials.
        out: The folder, ``runs/sweep-NAME`` by default. Several processes may share it, and trials in it are kept.
        trials: Number of trials in the folder, over all processes. If the search space has no more combinations than that,
            each is tried once.
        by: The value: ``validation.score`` and other keys of the label-free score (the highest is best), or the name of a
            loss in the log, such as ``generator.const`` (the lowest is best).
        early_stop: Stop a trial when its best value so far is worse than the median of the others at the same step.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        registry: Parts to use; by default those of all plugins.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.
        listeners: One function, or several, called with every Progress.
        stop: An event that stops the sweep.

    Returns:
        The trials, best first, as ``table.json`` in the folder holds them.

    Raises:
        DomtransError: If a path or value is wrong, ``by`` is measured on test images, or the folder holds something else.
        Stopped: When ``stop`` is set; everything is saved then, and the same call continues.
    """
    search = Sweep(recipe, changes, out, trials=trials, by=by, early_stop=early_stop, device=device, registry=registry)
    try:
        while True:
            with search.next_trial() as trial:
                if trial is None:
                    break
                with with_display(listeners, progress) as everyone:
                    search.run(trial, listeners=everyone, stop=stop)
            search.write(picture=False)
    finally:
        data = search.write()
    return data
