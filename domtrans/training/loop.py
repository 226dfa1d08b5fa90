"""The loop around the trainer: log, watch, sample, validate, save, and go back to a save when training diverges."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from domtrans.compute.memory import peak
from domtrans.data.grid import pair_grid
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError, Stopped
from domtrans.evaluation.health import Watch, const_chances, saturation
from domtrans.evaluation.label_free_score import SCORE, Validation
from domtrans.model.transfer import Transfer
from domtrans.recipe.schema import Recipe
from domtrans.runs.folder import RunFolder
from domtrans.storage.tensors import not_finite
from domtrans.training.out_of_memory import take_step
from domtrans.training.trainer import Trainer, under

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
        self.diverged_at, self.went_back_to = 0, 0
        """The steps that the last rollback came from and went to."""
        begins_as = trainer.state() if self.config.rollbacks else {}
        self.beginning = {name: tensor.detach().cpu().clone() for name, tensor in begins_as.items()}
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
        self._hand_out()

    def run(self) -> None:
        """Train to the last step. Raises Stopped, with everything saved, when the caller asks to stop."""
        self.session.report(self.trainer.step_number, self.config.steps)
        for name, sentence in self.saturation.items() if self.trainer.step_number == 0 else ():
            self._say(name, sentence)
        while self.trainer.step_number < self.config.steps:
            self._step()

    def _step(self) -> None:
        """One step of the trainer and all that is due after it."""
        trainer, group = self.trainer, self.session.group
        self.meter.add(take_step(trainer))
        step, last = trainer.step_number, trainer.step_number == self.config.steps
        saves = step % self.config.save_every == 0 or last
        fault = ""
        try:
            self._look_after(saves=saves)
        except _DivergedError as found:
            fault = str(found)
        stop, trainer.holds_d, back = group.any(self.session.stop.is_set(), self.watch.holds_d, bool(fault))
        if back:
            self._roll_back(fault)
        elif stop:
            if not not_finite(self._state()):  # else the resumed run diverges as this one would have
                self._save()
            group.any()  # the other processes stay until all is saved
            raise Stopped(f"stopped at step {step} of {self.config.steps}; everything is saved in {self.folder.path}")
        elif saves:
            self._save()

    def _look_after(self, *, saves: bool) -> None:
        """Sample, validate and log what is due; raises _DivergedError before anything that is not finite is saved."""
        step, config = self.trainer.step_number, self.config
        last = step == config.steps
        if step % config.sample_every == 0 or last:
            made = self.transfer.apply_to(self.samples)
            self.folder.save_sample(step, pair_grid(self.samples.images, made))
        if self.validation and (step % config.validate_every == 0 or last):
            self._validate(self.validation)
        if step % config.log_every == 0 or last:
            with suppress(Stopped):  # all processes have to hear of it before any stops
                self._log()
        bad = (not_finite(self.meter.sums) or not_finite(self.trainer.state())) if saves else None
        if bad:
            raise _DivergedError(bad)

    def _log(self) -> None:
        """Write a line of the log, hear the watch on it, and tell how far training has come."""
        record: dict[str, Any] = self.meter.read(self.trainer.step_number, 2 * self.config.batch_size)
        record |= self.trainer.reading() | peak(self.session.device)
        bad = [name for name, value in record.items() if not math.isfinite(value)]
        if bad:
            raise _DivergedError(bad[0])
        figures = dict(record)
        for name, sentence in self.watch.see(record).items():
            self._say(name, sentence)
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
        # The state last: a run that is killed between the two goes on from the state before it, and writes both again.
        self.folder.save_model(self._weights(), self.recipe, self._about("last step"))
        self.folder.save_training(self._state(), self.config.keep, self.config.save_every)

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
        back = {"diverged_at": torch.tensor(self.diverged_at), "went_back_to": torch.tensor(self.went_back_to)}
        return self.trainer.state() | self.meter.state() | back | (validation if self.config.validate_every else {})

    def _take_up(self, state: Mapping[str, Tensor] | None) -> None:
        """Go on from a saved state, or from the beginning; the log ends there too."""
        if state is not None:
            self.trainer.load_state(state)
            self.best_score = float(state.get("best.score", self.best_score))
            self.best_step = int(state.get("best.step", self.best_step))
            self.diverged_at, self.went_back_to = (int(state.get(name, 0)) for name in ("diverged_at", "went_back_to"))
        self.folder.rewind(self.trainer.step_number)
        self.meter = Meter(self.trainer.step_number, self.folder.seconds(), state)
        self.watch = Watch(self.config.health, self.chances)
        for record in self.folder.metrics():
            self.watch.see(record)
        self.trainer.holds_d = self.watch.holds_d

    def _roll_back(self, what: str) -> None:
        """Go back to a save that every run makes, with lower rates; raise DomtransError when that was done often enough.

        It is the newest, or, where none was reached behind the last divergence, one from before the last that was gone back
        to; before all of them is the beginning.
        """
        step, done, most = self.trainer.step_number, self.trainer.rollbacks, self.config.rollbacks
        if done >= most:
            tried = f" after {done} rollbacks to lower learning rates" if done else ""
            raise DomtransError(
                f"training diverged at step {step}{tried}: {what} is not a finite number; the last save in "
                f"{self.folder.path} is intact; try a lower train.generator_optimizer.lr or train.precision=float32"
            )
        best, said = (self.best_score, self.best_step), self._rollbacks_said()
        save = self.folder.load_training(self.config.save_every)
        if save is not None and int(save["step"]) < self.diverged_at:
            save = self.folder.load_training(self.config.save_every, before=self.went_back_to)
        self._take_up(save or self.beginning)
        self.best_score, self.best_step = best  # the best model so far stays where it is
        self.trainer.rollbacks = done + 1
        self.diverged_at, self.went_back_to = step, self.trainer.step_number
        sentence = (
            f"training diverged at step {step}: {what} is not a finite number; going on from step "
            f"{self.trainer.step_number} with a quarter of the learning rates (rollback {done + 1} of {most}); if it helps, "
            "write lower ones into the recipe"
        )
        # Said first and once: a run that is killed before the save comes here again, and one after it never does.
        said[f"rollback-{done + 1}"] = sentence
        there = self._rollbacks_said()
        unsaid = {name: text for name, text in said.items() if name not in there}
        if unsaid:
            record = {"step": self.trainer.step_number, "seconds": self.folder.seconds(), "alarms": unsaid}
            self.folder.log(record)
        self.folder.save_training(self._state(), self.config.keep, self.config.save_every)
        self._hand_out()
        self.session.tell(self.trainer.step_number, self.config.steps, sentence)

    def _rollbacks_said(self) -> dict[str, str]:
        """What the log tells of rollbacks; going back takes lines off it."""
        alarms = [item for record in self.folder.metrics() for item in record.get("alarms", {}).items()]
        return {name: sentence for name, sentence in alarms if name.startswith("rollback-")}

    def _hand_out(self) -> None:
        """Put the other processes where this one is; they wait for it in ``follow``."""
        self.session.group.share(self.trainer.state() | {"holds_d": torch.tensor(self.trainer.holds_d)})


def follow(trainer: Trainer) -> None:
    """What every process but the first does: its share of every step, as the first, in its ``Loop``, says.

    Raises Stopped when that stops.
    """
    group = trainer.session.group

    def catch_up() -> None:
        state = group.share()
        trainer.load_state(state)
        trainer.holds_d = bool(state["holds_d"])

    catch_up()
    while trainer.step_number < trainer.config.steps:
        take_step(trainer)
        stop, trainer.holds_d, back = group.any(trainer.session.stop.is_set(), False, False)
        if back:
            catch_up()
        elif stop:
            group.any()  # until all is saved
            raise Stopped(f"stopped at step {trainer.step_number} of {trainer.config.steps}")


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
