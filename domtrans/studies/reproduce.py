"""``reproduce``: train and measure every row of a study over several seeds. Finished work is kept."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domtrans.data.domains import load_domain
from domtrans.errors import DomtransError
from domtrans.evaluation.label_free_score import SCORE, LabelFreeScore
from domtrans.progress.display import with_display
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from domtrans.recipe.schema import Recipe
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.run import Run
from domtrans.session import Listeners, Progress
from domtrans.studies.folder import StudyFolder
from domtrans.studies.study import Row, find_study, select_rows
from domtrans.studies.tables import RunResults, StudyResults, assignments, evaluation_changes, evaluation_key, tables_of
from domtrans.training.train import train


@dataclass(frozen=True)
class Job:
    """One run: the recipe of a row, and of all rows with the same recipe, with one seed."""

    name: str
    seed: int

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


class Reproduction:
    """A registered study in a folder, to be run job by job. The parameters are those of ``reproduce``.

    Raises:
        DomtransError: If a name or option does not exist, or the folder holds something else.
    """

    def __init__(
        self,
        name: str,
        out: str | Path | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        seeds: int = 3,
        only: Sequence[str] = (),
        changes: Sequence[str] = (),
        device: str = "auto",
        registry: Registry | None = None,
    ) -> None:
        if seeds < 1:
            raise DomtransError(f"a study needs at least one seed, not {seeds}")
        self.registry, self.device = registry or load_plugins().registry, device
        self.options, self.changes = dict(options or {}), list(changes)
        self.study = find_study(name, self.options, self.registry)
        self.only = select_rows(self.study, tuple(only))
        recipes = self.recipes = {row.name: self._resolved(row) for row in self.study.rows()}
        # Rows with the same recipe share their runs, whatever is measured of them.
        self.runs_of = {name: next(other for other in recipes if recipes[other] == recipes[name]) for name in recipes}
        self.folder = StudyFolder(Path(out) if out is not None else Path("runs") / f"study-{self.study.name}")
        self.folder.claim({"study": self.study.name, "options": self.options, "changes": self.changes})
        names = dict.fromkeys(self.runs_of[name] for name in self.only)
        self.jobs = [Job(name, seed) for seed in range(seeds) for name in names]
        """One seed after another, so that the tables are complete early, and their means become more precise later."""
        self.failed: dict[str, dict[int, str]] = {}
        self.job_seconds: list[float] = []
        """Seconds of each job that this process ran."""

    def recipe(self, job: Job) -> Recipe:
        """The recipe of a job, resolved."""
        return self.recipes[job.name].model_copy(update={"seed": job.seed})

    def is_done(self, job: Job) -> bool:
        """Whether a job is trained and everything of it is measured."""
        return not self._missing(job)

    def run(self, job: Job, *, listeners: Listeners = (), stop: threading.Event | None = None) -> None:
        """Train and measure what is missing, and write the tables, with the error message if the job fails.

        Raises:
            Stopped: When ``stop`` is set; everything is saved then.
        """
        start, out = time.monotonic(), self.folder.run(job.name, job.seed)
        try:
            recipe = self.recipe(job)
            run = train(recipe, out, device=self.device, registry=self.registry, progress=False, listeners=listeners, stop=stop)
            if stop is not None:
                run.session = replace(run.session, stop=stop)  # measuring can be stopped too
            for changes in self._missing(job):
                self._measure(job, run, changes)
            self.folder.draw(job.name, [str(name) for name in run.about["classes"]])
        except DomtransError as error:
            self.failed.setdefault(job.name, {})[job.seed] = str(error)
        else:
            self.job_seconds.append(time.monotonic() - start)
        self.write()

    def seconds_left(self, jobs: int) -> float | None:
        """An estimate for so many jobs, from those that this process ran; None before the first."""
        return jobs * sum(self.job_seconds) / len(self.job_seconds) if self.job_seconds else None

    def write(self) -> dict[str, Any]:
        """Write the tables of everything that has been measured so far; returns the content of ``table.json``."""
        names = dict.fromkeys(self.runs_of.values())
        measured = {name: {seed: self._measured(Job(name, seed)) for seed in self.folder.seeds(name)} for name in names}
        images = {name: self.folder.images(name) for name in names}
        results = StudyResults(self.study, self.folder.path, self.changes, self.runs_of, measured, self.failed, images)
        data = {"study": self.study.name, "about": self.study.about, "command": self._command(), **tables_of(results)}
        self.folder.write(data)
        return data

    def _resolved(self, row: Row) -> Recipe:
        return override(find_recipe(row.recipe, self.registry, assignments(row.changes)), self.changes, self.registry)

    def _missing(self, job: Job) -> list[dict[str, Any]]:
        """The evaluations of a job that have not been run, as changes to ``evaluate``."""
        done = self._measured(job).passes
        wanted = {evaluation_key(changes): changes for changes in self._evaluations(job.name)}
        return [changes for key, changes in wanted.items() if key not in done]

    def _evaluations(self, name: str) -> Iterator[dict[str, Any]]:
        """The evaluation of every cell of the selected rows that share the runs of this row."""
        for table in self.study.tables:
            for row in table.rows:
                if row.name in self.only and self.runs_of[row.name] == name:
                    yield from (evaluation_changes(column, row) for column in table.columns)

    def _measured(self, job: Job) -> RunResults:
        return self.folder.measured(self.folder.run(job.name, job.seed), self.recipe(job))

    def _measure(self, job: Job, run: Run, changes: Mapping[str, Any]) -> None:
        before = self._measured(job)
        results = run.evaluate(changes, progress=False) if changes else run.results
        score = self._score(run) if before.score is None else before.score
        after = replace(before, passes={**before.passes, evaluation_key(changes): dict(results)}, score=score)
        self.folder.note(run.path, after)

    def _score(self, run: Run) -> float:
        """The label-free score of the last model, on training images."""
        parts = (run.recipe.source, run.recipe.target)
        source, target = (load_domain(self.registry, part, "train", run.recipe.image_size) for part in parts)
        return LabelFreeScore(source, target).score(run.model)[SCORE]

    def _command(self) -> str:
        """The command that makes these tables. It names the rows that have runs, unless all have."""
        options = [
            word
            for name, value in self.options.items()
            for word in (f"--{name.replace('_', '-')}", *([] if value is True else [str(value)]))
        ]
        names = list(dict.fromkeys(self.runs_of.values()))
        begun = [name for name in names if self.folder.seeds(name) or name in self.failed]
        only = [] if begun == names else [word for name in begun for word in ("--only", name)]
        seeds = 1 + max(seed for name in names for seed in (0, *self.folder.seeds(name)))
        words = ["domtrans", "reproduce", self.study.name, *self.changes, *options, *only]
        return shlex.join([*words, "--seeds", str(seeds), "--out", str(self.folder.path)])


def reproduce(
    name: str,
    out: str | Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    seeds: int = 3,
    only: Sequence[str] = (),
    changes: Sequence[str] = (),
    device: str = "auto",
    registry: Registry | None = None,
    progress: bool | None = None,
    listeners: Listeners = (),
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Train and measure the rows of a registered study. A row that fails does not stop the others.

    Args:
        name: Name of the study.
        out: The folder, ``runs/study-NAME`` by default. Finished runs and measurements in it are kept.
        options: Options of the study.
        seeds: Number of runs per row; their seeds are 0 to ``seeds`` - 1.
        only: Names of rows; empty for all.
        changes: ``path=value`` changes to every row, after its own.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        registry: Parts to use; by default those of all plugins.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.
        listeners: One function, or several, called with every Progress.
        stop: An event that stops the study.

    Returns:
        The tables, as ``table.json`` in the folder holds them.

    Raises:
        DomtransError: If a name, option or change is wrong, or the folder holds something else.
        Stopped: When ``stop`` is set; everything is saved then.
    """
    study = Reproduction(name, out, options=options, seeds=seeds, only=only, changes=changes, device=device, registry=registry)
    jobs = [job for job in study.jobs if not study.is_done(job)]
    for number, job in enumerate(jobs, 1):
        with with_display(listeners, progress) as everyone:
            for listener in everyone:
                listener(Progress("data", 0, 2, note=f"{job}: run {number} of {len(jobs)}"))
            study.run(job, listeners=everyone, stop=stop)
    return study.write()
