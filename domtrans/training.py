"""``train``: a recipe in, a run folder with a trained and measured transfer out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from domtrans.errors import DomtransError, Stopped
from domtrans.evaluation import measure
from domtrans.experiment import load_domain, prepare
from domtrans.grid import pair_grid
from domtrans.images import ImageSet
from domtrans.overrides import override
from domtrans.plugins import load_plugins
from domtrans.recipe import Recipe
from domtrans.recipefiles import find_recipe
from domtrans.registry import Registry
from domtrans.runfolder import RunFolder
from domtrans.runs import Run, load
from domtrans.session import Listener, Session
from domtrans.trainer import Trainer

SAMPLES = 32
"""Source test images in every sample grid."""


def train(
    recipe: Recipe | str,
    out: str | Path | None = None,
    *,
    overrides: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    device: str = "auto",
    resume: bool = False,
    registry: Registry | None = None,
    listeners: tuple[Listener, ...] = (),
    stop: threading.Event | None = None,
) -> Run:
    """Train a recipe (an object, a registered name, or a file) and measure the result.

    ``out``: the run folder, ``runs/NAME`` by default. A folder that holds the same recipe is taken up where it was
    saved; ``resume`` insists on one, and lets ``train.steps`` and the intervals differ. ``listeners`` hear of all
    progress. When ``stop`` is set, training saves and raises Stopped. Returns the loaded run.
    Raises DomtransError for anything that the user can mend.
    """
    registry = registry or load_plugins().registry
    found = find_recipe(recipe, registry) if isinstance(recipe, str) else recipe.resolve(registry)
    found = override(found, overrides, registry) if overrides else found
    folder = RunFolder(Path(out) if out is not None else Path("runs") / found.name)
    session = Session.start(device, precision=found.train.precision, seed=found.seed, listeners=listeners, stop=stop)
    with folder.open(found, resume=resume):
        if folder.results() is None or _steps_done(folder) < found.train.steps:
            with torch.random.fork_rng(devices=[session.device] if session.device.type == "cuda" else []):
                _train(found, registry, session, folder)
    return load(folder.path, device=str(session.device), registry=registry, listeners=listeners)


def _train(recipe: Recipe, registry: Registry, session: Session, folder: RunFolder) -> None:
    began = time.perf_counter()
    samples = _sample_images(load_domain(registry, recipe.source, "test", recipe.image_size))
    experiment = prepare(recipe, registry, session)
    ready = time.perf_counter()
    trainer = Trainer(experiment, session.during("train"))
    saved = folder.load_training()
    if saved is not None:
        trainer.load_state(saved)
    folder.rewind(trainer.step_number)
    first = trainer.step_number
    _loop(trainer, folder, recipe, samples)
    trained = time.perf_counter()
    experiment.transfer.generator.load_state_dict(trainer.average.module.state_dict())
    results = measure(experiment.transfer, recipe, registry, session)
    steps = trainer.step_number - first
    results |= {
        "steps": trainer.step_number,
        "seconds": {
            "data_and_encoder": round(ready - began, 1),
            "training": round(folder.seconds(), 1),
            "evaluation": round(time.perf_counter() - trained, 1),
        },
        "images_per_second": round(2 * steps * recipe.train.batch_size / max(trained - ready, 1e-9), 1),
        "device": str(session.device),
        "precision": str(session.dtype).removeprefix("torch."),
        "seed": recipe.seed,
    }
    folder.save_results(results)


def _loop(trainer: Trainer, folder: RunFolder, recipe: Recipe, samples: ImageSet) -> None:
    """Step, log, sample and save, until the last step or until the caller asks to stop."""
    config, session = recipe.train, trainer.session
    session.report(trainer.step_number, config.steps)
    meter = Meter(trainer.step_number, folder.seconds())
    while trainer.step_number < config.steps:
        meter.add(trainer.step())
        step = trainer.step_number
        last = step == config.steps
        if step % config.sample_every == 0 or last:
            _sample(trainer, folder, samples)
        try:
            if step % config.log_every == 0 or last:
                record = meter.read(step, 2 * config.batch_size)
                _check_finite(record, folder)
                folder.log(record)
                session.report(step, config.steps, record)
            elif session.stop.is_set():
                raise Stopped("stopped during training")
        except Stopped:
            _save(trainer, folder, recipe)
            raise Stopped(f"stopped at step {step} of {config.steps}; everything is saved in {folder.path}") from None
        if step % config.save_every == 0 or last:
            _save(trainer, folder, recipe)


def _save(trainer: Trainer, folder: RunFolder, recipe: Recipe) -> None:
    state = trainer.state()
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise _diverged(trainer.step_number, bad[0], folder)
    folder.save_training(state, recipe.train.keep)
    encoder = {f"encoder.{name}": tensor for name, tensor in trainer.f.state_dict().items()}
    generator = {f"generator.{name}": tensor for name, tensor in trainer.average.module.state_dict().items()}
    about = {
        "classes": list(trainer.experiment.source.classes),
        "channels": trainer.experiment.target.channels,
        "step": trainer.step_number,
    }
    folder.save_model(encoder | generator, recipe, about)


@torch.no_grad()
def _sample(trainer: Trainer, folder: RunFolder, samples: ImageSet) -> None:
    transfer = type(trainer.experiment.transfer)(trainer.f, trainer.average.module)  # type: ignore[arg-type]
    made = transfer.apply_to(samples)
    folder.save_sample(f"step-{trainer.step_number:06d}", pair_grid(samples.images, made))


def _sample_images(images: ImageSet) -> ImageSet:
    """The same few images every time, spread over the set so that sorted classes all show."""
    index = torch.linspace(0, len(images) - 1, min(SAMPLES, len(images))).long()
    return ImageSet(images.images[index])


def _check_finite(record: Mapping[str, float], folder: RunFolder) -> None:
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
        raise _diverged(int(record["step"]), bad[0], folder)


def _diverged(step: int, what: str, folder: RunFolder) -> DomtransError:
    return DomtransError(
        f"training diverged at step {step}: {what} is not a finite number; the last save in "
        f"{folder.path} is intact; try a lower train.generator_optimizer.lr or train.precision=float32"
    )


def _steps_done(folder: RunFolder) -> int:
    return int((folder.results() or {}).get("steps", 0))


class Meter:
    """Means of the losses since the last reading; sums stay on the device, so that the loop never waits for it."""

    def __init__(self, step: int, seconds: float = 0.0) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.last, self.last_step = time.perf_counter(), step
        self.began = self.last - seconds

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take in one step's losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self, step: int, images: int) -> dict[str, float]:
        """``{"step", "seconds", "images_per_second", loss: mean, ...}`` since the last reading; starts anew."""
        means = {name: round(float(total) / self.counts[name], 6) for name, total in self.sums.items()}
        now = time.perf_counter()
        speed = (step - self.last_step) * images / max(now - self.last, 1e-9)
        record = {"step": step, "seconds": round(now - self.began, 2), "images_per_second": round(speed, 1), **means}
        self.sums, self.counts, self.last, self.last_step = {}, {}, now, step
        return record
