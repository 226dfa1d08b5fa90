"""The training loop: step, then log, sample, score and save what is due, until the last step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from domtrans.compute.memory import peak_memory
from domtrans.data.grid import pair_grid, png
from domtrans.data.image_set import ImageSet
from domtrans.errors import Stopped
from domtrans.evaluation.health import HealthWatch, const_chance_levels, saturation_alarm
from domtrans.evaluation.label_free_score import SCORE, LabelFreeScore
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe
from domtrans.runs.folder import RunFolder
from domtrans.runs.trackers import Trackers
from domtrans.storage.tensors import not_finite
from domtrans.training.checkpoint import load_training_state, training_state
from domtrans.training.domain import LoadingStatistics
from domtrans.training.meter import Meter
from domtrans.training.out_of_memory import out_of_memory_guard
from domtrans.training.rollback import DivergedError, Rollbacks, logged_rollbacks
from domtrans.training.trainer import Trainer
from domtrans.training.updates import images_per_step

HEALTH_IMAGES = 500
"""Source training images, at most, over whose features the health watch is set up."""


class Loop:
    """The training of one run, in the main process. Other processes run ``follow``.

    Args:
        trainer: Runs the steps.
        folder: Keeps the log, samples, models and training states.
        recipe: The resolved recipe.
        samples: Source images of the sample grids.
        about: What the model files say about where they come from.
        trackers: Get every line of the log and every sample.
        clock: Seconds since any moment, for ``train.save_minutes``.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: RunFolder,
        recipe: Recipe,
        samples: ImageSet,
        about: Mapping[str, Any],
        trackers: Trackers | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer, self.folder, self.recipe, self.samples, self.about = trainer, folder, recipe, samples, about
        self.config, self.session, self.trackers = recipe.train, trainer.session, trackers or Trackers()
        averaged: Any = trainer.average.module
        self.transfer = Transfer(trainer.f, averaged, trainer.experiment.transfer.engine)
        self.label_free_score = LabelFreeScore(trainer.source, trainer.target) if self.config.validate_every else None
        self.clock, self.last_save = clock, clock()
        self.best_score, self.best_step = -1.0, 0
        self.first_step = 0
        """The step at which this process started or resumed the run."""
        self.rollbacks = Rollbacks(self.config, training_state(trainer) if self.config.rollbacks else {})
        self.loading = LoadingStatistics(trainer.domains)
        self.chance_levels, self.saturation = self._health_baselines()
        self.watch = HealthWatch(self.config.health, self.chance_levels)
        self.meter = Meter(trainer.step_number)
        self.alarms: dict[str, str] = {}
        """Alarms that go into the next line of the log."""

    def run(self, changed: Sequence[str] = ()) -> None:
        """Train to the last step. Raises Stopped, with everything saved, when the caller asks to stop.

        Args:
            changed: Changes to the recipe since the run was started, for the log.
        """
        self.start_or_resume(changed)
        while self.trainer.step_number < self.config.steps:
            with out_of_memory_guard(self.trainer):
                losses = self.trainer.step()
            self.meter.add(losses)
            self.finish_step()

    def start_or_resume(self, changed: Sequence[str] = ()) -> None:
        """Load the newest training state, if there is one, and send it to the other processes."""
        self._restore(self.folder.load_training())
        self._send_state()
        self.first_step = self.trainer.step_number
        if self.first_step and not self.folder.model_file.is_file():
            self._save_model()
        if changed:
            self._write({"step": self.first_step, "seconds": self.folder.seconds(), "changed": list(changed)})
        self.session.progress(self.trainer.step_number, self.config.steps)
        if self.trainer.step_number == 0:
            for name, sentence in self.saturation.items():
                self._alarm(name, sentence)

    def finish_step(self) -> None:
        """Do what is due after a step; then roll back, stop or save. All processes decide the same."""
        step, trainer, group = self.trainer.step_number, self.trainer, self.session.group
        diverged = ""
        try:
            self._sample_score_and_log()
            self._check_finite()
        except DivergedError as error:
            diverged = str(error)
        stop, trainer.hold_discriminator, roll_back = group.any_of(
            stop=self.session.stop.is_set(), hold_d=self.watch.hold_discriminator, diverged=bool(diverged)
        )
        if roll_back:
            self._roll_back(diverged)
        elif stop:
            self._save_if_finite()
            group.barrier()  # the other processes wait until everything is saved
            raise Stopped(f"stopped at step {step} of {self.config.steps}; everything is saved in {self.folder.name}")
        elif self._is_due(self.config.save_every):
            self._save()
        elif 0 < self.config.save_minutes <= (self.clock() - self.last_save) / 60:
            self._save_if_finite()

    def _is_due(self, every: int) -> bool:
        """Whether this step is a multiple of ``every``, or the last step."""
        return self.trainer.step_number % every == 0 or self.trainer.step_number == self.config.steps

    def _sample_score_and_log(self) -> None:
        if self._is_due(self.config.sample_every):
            self._sample()
        if self.label_free_score and self._is_due(self.config.validate_every):
            self._score(self.label_free_score)
        if self._is_due(self.config.log_every):
            with suppress(Stopped):  # all processes must agree to stop
                self._log()

    def _check_finite(self) -> None:
        """Before a save, raise DivergedError if a loss or a weight is not finite."""
        if self._is_due(self.config.save_every):
            bad = not_finite(self.meter.sums) or not_finite(training_state(self.trainer))
            if bad:
                raise DivergedError(bad)

    def _sample(self) -> None:
        """Write the sample grid of this step."""
        step = self.trainer.step_number
        source, target = self.samples, self.trainer.target
        transferred = self.transfer.apply_to(source)
        grid = pair_grid(source.images, transferred, source_shown=source.shown, target_shown=target.shown)
        path = self.folder.save_sample(step, png(grid))
        self.trackers.image("samples", path, step)

    def _score(self, label_free_score: LabelFreeScore) -> None:
        """Compute the label-free score, and keep the model if it is the best so far."""
        scores = label_free_score.score(self.transfer)
        self.meter.add({name: torch.tensor(score) for name, score in scores.items()})
        if scores[SCORE] > self.best_score:
            self.best_score, self.best_step = scores[SCORE], self.trainer.step_number
            chosen = f"{SCORE} {self.best_score:.4g} at step {self.best_step}"
            self.folder.save_model(self._model(), self.recipe, self._about(chosen), best=True)

    def _log(self) -> None:
        """Write a line of the log, run the health watch on it, and report progress. Raises DivergedError before that."""
        record: dict[str, Any] = self.meter.read(self.trainer.step_number, images_per_step(self.config))
        record |= self.loading.read() | peak_memory(self.session.device)
        bad = [name for name, value in record.items() if not math.isfinite(value)]
        if bad:
            raise DivergedError(bad[0])
        values = dict(record)
        for name, sentence in self.watch.update(record).items():
            self._alarm(name, sentence)
        if self.alarms:
            record["alarms"], self.alarms = self.alarms, {}
        self._write(record)
        self.session.progress(self.trainer.step_number, self.config.steps, values)

    def _write(self, record: Mapping[str, Any]) -> None:
        self.folder.log(record)
        self.trackers.log(record)

    def _alarm(self, name: str, sentence: str) -> None:
        """Tell the user at once; the next line of the log has it too."""
        self.alarms[name] = sentence
        self.session.note(self.trainer.step_number, self.config.steps, sentence)

    def _save(self) -> None:
        # The state last: a run that is killed between the two resumes from the state before, and writes both again. The first
        # time, there is none before, and a model without a state means that someone removed the state.
        if not self.folder.has_training():
            self._save_state()
        self._save_model()
        self._save_state()
        self.last_save = self.clock()

    def _save_model(self) -> None:
        self.folder.save_model(self._model(), self.recipe, self._about("last step"))

    def _save_state(self) -> None:
        self.folder.save_training(self._state(), self.config.keep, self.config.save_every)

    def _save_if_finite(self) -> None:
        """Save between two regular saves, unless training diverged: a resumed run must find that as this one would have."""
        if not not_finite(self._state()):
            self._save()

    def _model(self) -> dict[str, Tensor]:
        """The weights of f and of the EMA of g."""
        encoder = {f"encoder.{name}": tensor for name, tensor in self.trainer.f.state_dict().items()}
        generator = {f"generator.{name}": tensor for name, tensor in self.trainer.average.module.state_dict().items()}
        return encoder | generator

    def _about(self, chosen: str) -> dict[str, Any]:
        return {**self.about, "step": self.trainer.step_number, "chosen": chosen}

    def _state(self) -> dict[str, Tensor]:
        """All that the rest of the run depends on, besides the log up to this step, which the health watch reads again."""
        best = {
            "best.score": torch.tensor(self.best_score, dtype=torch.float64),
            "best.step": torch.tensor(self.best_step),
        }
        scored = best if self.config.validate_every else {}
        return training_state(self.trainer) | self.meter.state() | self.rollbacks.state() | scored

    def _restore(self, state: Mapping[str, Tensor] | None) -> None:
        """Go to a saved state, or, without one, stay at the beginning. Later lines of the log are removed."""
        if state is not None:
            load_training_state(self.trainer, state)
            self.best_score = float(state.get("best.score", self.best_score))
            self.best_step = int(state.get("best.step", self.best_step))
            self.rollbacks.load_state(state)
        self.folder.rewind(self.trainer.step_number)
        self.meter = Meter(self.trainer.step_number, self.folder.seconds(), state)
        self.watch = HealthWatch(self.config.health, self.chance_levels)
        for record in self.folder.metrics():
            self.watch.update(record)
        self.trainer.hold_discriminator = self.watch.hold_discriminator

    def _roll_back(self, name: str) -> None:
        """Go back to a checkpoint and lower the learning rates. Raises DomtransError after too many rollbacks."""
        step, number = self.trainer.step_number, self.trainer.rollbacks + 1
        self.rollbacks.check_allowed(self.folder, step, number - 1, name)
        best, notes = (self.best_score, self.best_step), logged_rollbacks(self.folder)
        self._restore(self.rollbacks.choose(self.folder))
        self.best_score, self.best_step = best  # the best model so far stays
        self.trainer.rollbacks = number
        self.rollbacks.diverged_at, self.rollbacks.went_back_to = step, self.trainer.step_number
        sentence = self.rollbacks.sentence(step, self.trainer.step_number, number, name)
        # Logged before the save, and once: a run that is killed before the save comes here again, and one after it does not.
        notes[f"rollback-{number}"] = sentence
        logged = logged_rollbacks(self.folder)
        missing = {key: note for key, note in notes.items() if key not in logged}
        if missing:
            self._write({"step": self.trainer.step_number, "seconds": self.folder.seconds(), "alarms": missing})
        self._save_state()
        self._send_state()
        self.session.note(self.trainer.step_number, self.config.steps, sentence)

    def _send_state(self) -> None:
        """Send the training state to the other processes, which wait for it in ``follow``."""
        held = {"holds_d": torch.tensor(self.trainer.hold_discriminator)}
        self.session.group.broadcast(training_state(self.trainer) | held)

    def _health_baselines(self) -> tuple[dict[str, float], dict[str, str]]:
        """What the const losses are for unrelated images, and an alarm if f is saturated."""
        if not self.config.health.watch:
            return {}, {}
        trainer = self.trainer
        features = trainer.f.encode(trainer.source.some(HEALTH_IMAGES))
        losses = {f"generator.{item.name}": item.loss for item in trainer.experiment.generator_losses}
        return const_chance_levels(losses, features, trainer.f.classifier), saturation_alarm(features)


def follow(trainer: Trainer) -> None:
    """The loop of every process but the main one: run the same steps, and do what the main process decides.

    Raises Stopped when the main process stops.
    """
    group = trainer.session.group

    def receive_state() -> None:
        state = group.broadcast()
        load_training_state(trainer, state)
        trainer.hold_discriminator = bool(state["holds_d"])

    receive_state()
    while trainer.step_number < trainer.config.steps:
        with out_of_memory_guard(trainer):
            trainer.step()
        stop, trainer.hold_discriminator, roll_back = group.any_of(
            stop=trainer.session.stop.is_set(), hold_d=False, diverged=False
        )
        if roll_back:
            receive_state()
        elif stop:
            group.barrier()  # until the main process has saved everything
            raise Stopped(f"stopped at step {trainer.step_number} of {trainer.config.steps}")
