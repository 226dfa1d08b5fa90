"""The loop around the trainer: log, watch, sample, validate, save, and go back to a save when training diverges."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from domtrans.errors import DomtransError, Stopped
from domtrans.grid import pair_grid
from domtrans.health import Watch, const_chances, saturation
from domtrans.images import ImageSet
from domtrans.model import Transfer
from domtrans.recipe import Recipe
from domtrans.runfolder import RunFolder
from domtrans.tensors import not_finite
from domtrans.trainer import Trainer, under
from domtrans.validation import SCORE, Validation

WATCHED = 500
"""Source training images that f's features are looked at over, at most."""


class _DivergedError(Exception):
    """A loss, a gradient or a weight is not a finite number any more."""


class Loop:
    """A training under way in a run folder. ``about``: what the model files say of where they come from."""

    def __init__(
        self, trainer: Trainer, folder: RunFolder, recipe: Recipe, samples: ImageSet, about: Mapping[str, Any]
    ) -> None:
        self.trainer, self.folder, self.recipe, self.samples, self.about = trainer, folder, recipe, samples, about
        self.config, self.session = recipe.train, trainer.session
        averaged: Any = trainer.average.module
        self.transfer = Transfer(trainer.f, averaged)
        self.validation = Validation(trainer.source, trainer.target) if self.config.validate_every else None
        self.best_score, self.best_step = -1.0, 0
        self.beginning = {name: tensor.detach().cpu().clone() for name, tensor in trainer.state().items()}
        self.meter = Meter(0)
        self.alarms: dict[str, str] = {}
        """Said at once, logged with the next line."""
        self.chances: dict[str, float] = {}
        self.saturation: dict[str, str] = {}
        if self.config.health.watch:
            features = trainer.f.encode(trainer.source.some(WATCHED))
            losses = {f"generator.{item.name}": item.loss for item in trainer.experiment.generator_losses}
            self.chances, self.saturation = const_chances(losses, features, trainer.f.classify), saturation(features)
        self._take_up(folder.load_training())

    def run(self) -> None:
        """Train to the last step. Raises Stopped, with everything saved, when the caller asks to stop."""
        self.session.report(self.trainer.step_number, self.config.steps)
        for name, sentence in self.saturation.items() if self.trainer.step_number == 0 else ():
            self._say(name, sentence)
        while self.trainer.step_number < self.config.steps:
            try:
                self._step()
            except _DivergedError as fault:
                self._roll_back(str(fault))

    def _step(self) -> None:
        """One step of the trainer and all that is due after it."""
        config, trainer = self.config, self.trainer
        self.meter.add(trainer.step())
        step = trainer.step_number
        last = step == config.steps
        if step % config.sample_every == 0 or last:
            made = self.transfer.apply_to(self.samples)
            self.folder.save_sample(f"step-{step:06d}", pair_grid(self.samples.images, made))
        if self.validation and (step % config.validate_every == 0 or last):
            self._validate(self.validation)
        try:
            if step % config.log_every == 0 or last:
                self._log()
            elif self.session.stop.is_set():
                raise Stopped("stopped during training")
        except Stopped:
            if not not_finite(self._state()):  # else the resumed run diverges as this one would have
                self._save()
            raise Stopped(f"stopped at step {step} of {config.steps}; everything is saved in {self.folder.path}") from None
        if step % config.save_every == 0 or last:
            bad = not_finite(self.meter.sums) or not_finite(self.trainer.state())
            if bad:
                raise _DivergedError(bad)
            self._save()

    def _log(self) -> None:
        """Write a line of the log, hear the watch on it, and tell how far training has come."""
        record: dict[str, Any] = self.meter.read(self.trainer.step_number, 2 * self.config.batch_size)
        bad = [name for name, value in record.items() if not math.isfinite(value)]
        if bad:
            raise _DivergedError(bad[0])
        figures = dict(record)
        for name, sentence in self.watch.see(record).items():
            self._say(name, sentence)
        self.trainer.holds_d = self.watch.holds_d
        if self.alarms:
            record["alarms"], self.alarms = self.alarms, {}
        self.folder.log(record)
        self.session.report(self.trainer.step_number, self.config.steps, figures)

    def _say(self, name: str, sentence: str) -> None:
        self.alarms[name] = sentence
        self.session.tell(self.trainer.step_number, self.config.steps, sentence)

    def _validate(self, validation: Validation) -> None:
        scores = validation.score(self.transfer)
        self.meter.add({name: torch.tensor(score) for name, score in scores.items()})
        if scores[SCORE] > self.best_score:
            self.best_score, self.best_step = scores[SCORE], self.trainer.step_number
            chosen = f"{SCORE} {self.best_score:.4g} at step {self.best_step}"
            self.folder.save_model(self._weights(), self.recipe, self._about(chosen), best=True)

    def _save(self) -> None:
        self.folder.save_training(self._state(), self.config.keep, self.config.save_every)
        self.folder.save_model(self._weights(), self.recipe, self._about("last step"))
        if self.trainer.step_number >= self.config.save_every:
            self.beginning = {}  # no rollback will want it

    def _weights(self) -> dict[str, Tensor]:
        encoder = {f"encoder.{name}": tensor for name, tensor in self.trainer.f.state_dict().items()}
        generator = {f"generator.{name}": tensor for name, tensor in self.trainer.average.module.state_dict().items()}
        return encoder | generator

    def _about(self, chosen: str) -> dict[str, Any]:
        return {**self.about, "step": self.trainer.step_number, "chosen": chosen}

    def _state(self) -> dict[str, Tensor]:
        """All that the rest of the run depends on; the log, up to this step, is the watch's part of it."""
        validation = {
            "best.score": torch.tensor(self.best_score, dtype=torch.float64),
            "best.step": torch.tensor(self.best_step),
        }
        return self.trainer.state() | self.meter.state() | (validation if self.config.validate_every else {})

    def _take_up(self, state: Mapping[str, Tensor] | None) -> None:
        """Go on from a saved state, or from the beginning; the log ends there too."""
        if state is not None:
            self.trainer.load_state(state)
            self.best_score = float(state.get("best.score", self.best_score))
            self.best_step = int(state.get("best.step", self.best_step))
        self.folder.rewind(self.trainer.step_number)
        self.meter = Meter(self.trainer.step_number, self.folder.seconds(), state)
        self.watch = Watch(self.config.health, self.chances)
        for record in self.folder.metrics():
            self.watch.see(record)
        self.trainer.holds_d = self.watch.holds_d

    def _roll_back(self, what: str) -> None:
        """Go back to the last save that every run makes, with lower rates; raise DomtransError if that did not help."""
        step, done, most = self.trainer.step_number, self.trainer.rollbacks, self.config.rollbacks
        if done >= most:
            tried = f" after {done} rollbacks to lower learning rates" if done else ""
            raise DomtransError(
                f"training diverged at step {step}{tried}: {what} is not a finite number; the last save in "
                f"{self.folder.path} is intact; try a lower train.generator_optimizer.lr or train.precision=float32"
            )
        best = self.best_score, self.best_step
        save = self.folder.load_training(self.config.save_every) if step > self.config.save_every else None
        self._take_up(save or self.beginning)
        self.best_score, self.best_step = best  # the best model so far stays where it is
        self.trainer.rollbacks = done + 1
        self.folder.save_training(self._state(), self.config.keep, self.config.save_every)
        sentence = (
            f"training diverged at step {step}: {what} is not a finite number; going on from step "
            f"{self.trainer.step_number} with a quarter of the learning rates (rollback {done + 1} of {most}); if it helps, "
            "write lower ones into the recipe"
        )
        self.folder.log(
            {
                "step": self.trainer.step_number,
                "seconds": self.folder.seconds(),
                "alarms": {f"rollback-{done + 1}": sentence},
            }
        )
        self.session.tell(self.trainer.step_number, self.config.steps, sentence)


class Meter:
    """Means of the losses since the last reading; sums stay on the device, so that the loop never waits for it."""

    def __init__(self, step: int, seconds: float = 0.0, state: Mapping[str, Tensor] | None = None) -> None:
        self.sums = under(state or {}, "meter.sum.")
        self.counts = {name: int(count) for name, count in under(state or {}, "meter.count.").items()}
        self.last, self.last_step = time.perf_counter(), step
        self.began = self.last - seconds

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take in one step's losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self, step: int, images: int) -> dict[str, float]:
        """``{"step", "seconds", "images_per_second", loss: mean, ...}`` since the last reading; starts anew."""
        means = {name: round(float(total) / self.counts[name], 6) for name, total in self.sums.items()}
        now = time.perf_counter()
        speed = (step - self.last_step) * images / max(now - self.last, 1e-9)
        record = {"step": step, "seconds": round(now - self.began, 2), "images_per_second": round(speed, 1), **means}
        self.sums, self.counts, self.last, self.last_step = {}, {}, now, step
        return record

    def state(self) -> dict[str, Tensor]:
        """What has been taken in since the last reading, so that a resumed run logs the same means."""
        sums = {f"meter.sum.{name}": total for name, total in self.sums.items()}
        return sums | {f"meter.count.{name}": torch.tensor(count) for name, count in self.counts.items()}
