"""``train``: a recipe in, a run folder with a trained and measured transfer out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from domtrans.compute.distributed import joined, local_device
from domtrans.compute.memory import enough_memory
from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import measure
from domtrans.evaluation.label_free_score import SCORE
from domtrans.evaluation.leak_guard import MANY, evaluators_kept_out, repeated, supervision
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override, parse
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.reporting.report import report
from domtrans.runs.examples import make_examples, write_examples
from domtrans.runs.folder import RunFolder, default_folder
from domtrans.runs.provenance import computed_on, origin_of
from domtrans.runs.resume import may_change
from domtrans.runs.run import Run, load
from domtrans.runs.trackers import chosen, tracked
from domtrans.session import Listener, Session
from domtrans.training.experiment import Experiment, prepare
from domtrans.training.loop import Loop, follow
from domtrans.training.trainer import Trainer

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
SAMPLES = 32
"""Source test images in every sample grid."""


def train(
    recipe: Recipe | str,
    out: str | Path | None = None,
    *,
    overrides: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    device: str = "auto",
    resume: bool = False,
    allow_changes: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    registry: Registry | None = None,
    listeners: tuple[Listener, ...] = (),
    stop: threading.Event | None = None,
    track: Sequence[str | Part] = (),
) -> Run:
    """Train a recipe (an object, a registered name, or a file) and measure the result.

    ``out``: the run folder, ``runs/NAME`` by default. A folder that holds the same recipe is taken up where it was
    saved; ``resume`` insists on one, and lets ``train.steps`` and the intervals differ. ``allow_changes``, with ``resume``:
    changes to the recipe that the run goes on with all the same; the results name them. ``listeners`` hear of all progress.
    ``track``: trackers that hear of it too, each a part, its name, or its table as JSON (docs/trackers.md); none changes the
    run. When ``stop`` is set, training saves and raises Stopped. Processes that torchrun started train together
    (docs/distributed.md). Returns the loaded run.
    Raises DomtransError for anything that the user can mend.
    """
    registry = registry or load_plugins().registry
    found = find_recipe(recipe, registry) if isinstance(recipe, str) else recipe.resolve(registry)
    found = override(found, overrides, registry) if overrides else found
    found = override(found, allow_changes, registry) if allow_changes else found
    trackers = chosen(track, registry)
    folder = RunFolder(Path(out) if out is not None else default_folder(found.name))
    allowed = _changeable(allow_changes, resume=resume)
    if allowed and _steps_done(folder) >= found.train.steps:
        raise DomtransError(f"the run in {folder.path} is finished; to change anything, go on with more train.steps as well")
    stop = stop or threading.Event()
    device = local_device(device)
    with joined(device, stop) as group:
        # A batch that cannot be shared is refused before anything takes time.
        group.part_size(found.train.batch_size, found.train.accumulate)
        listeners = listeners if group.leads else ()
        session = Session.start(
            device,
            precision=found.train.precision,
            seed=found.seed,
            listeners=listeners,
            stop=stop,
            workers=found.train.workers,
            group=group,
        )
        with closing(session.readers), algorithms(session, deterministic=found.train.deterministic):
            if group.leads:
                _lead(found, registry, session, folder, resume=resume, allowed=allowed, trackers=trackers)
            else:
                _follow(found, registry, session, folder)
        group.any()  # until the first has written everything
    return load(folder.path, device=str(session.device), registry=registry, listeners=listeners)


def _lead(
    recipe: Recipe,
    registry: Registry,
    session: Session,
    folder: RunFolder,
    *,
    resume: bool,
    allowed: Sequence[str],
    trackers: Sequence[Part],
) -> None:
    """What the first process does, or the only one: it alone writes."""
    with folder.open(recipe, registry, resume=resume, allowed=allowed) as changed:
        unfinished = folder.results() is None or _steps_done(folder) < recipe.train.steps
        session.group.any(unfinished)
        if unfinished:
            with tracked(trackers, folder.path, recipe, registry, session) as folder.trackers:
                _train(recipe, registry, session, folder, changed)
        else:
            done = "this run is finished, so nothing was trained; --out begins another, more train.steps with --resume go on"
            session.during("train").tell(recipe.train.steps, recipe.train.steps, done)


def _follow(recipe: Recipe, registry: Registry, session: Session, folder: RunFolder) -> None:
    """What every other process does."""
    (unfinished,) = session.group.any(False)
    if not folder.recipe_file.is_file():
        raise DomtransError(f"the run folder {folder.path} is not seen here; put it on storage that every machine sees")
    if unfinished:
        experiment = prepare(recipe, registry, session)
        trainer = _trainer(experiment, session)
        with evaluators_kept_out(oracle=recipe.oracle):
            follow(trainer)
        experiment.transfer.generator.load_state_dict(trainer.average.module.state_dict())
        measure(experiment.transfer, recipe, registry, session)


def _changeable(changes: list[str] | tuple[str, ...] | Mapping[str, Any], *, resume: bool) -> list[str]:
    """The paths of changes to a run under way; DomtransError for one that would make the saved state meaningless."""
    paths = [path for path, _ in parse(changes)]
    if paths and not resume:
        raise DomtransError("--allow-changes names changes to a run under way, so it goes with --resume")
    for path in paths:
        if not may_change(path):
            raise DomtransError(
                f"'{path}' cannot change in a run under way: what is saved was learnt with it; start another run with --out"
            )
    return paths


def _train(recipe: Recipe, registry: Registry, session: Session, folder: RunFolder, changed: list[str]) -> None:
    began = time.perf_counter()
    measured_before = _measured_before(folder)
    source_test = load_domain(registry, recipe.source, "test", recipe.image_size)
    experiment = prepare(recipe, registry, session)
    target_test = load_domain(registry, recipe.target, "test", recipe.image_size)
    repeats = {"source": repeated(experiment.source, source_test), "target": repeated(experiment.target, target_test)}
    for side, test in (("source", source_test), ("target", target_test)):
        count = repeats[side]
        if count is None:
            session.during("data").tell(2, 2, _not_compared(side))
        elif count > MANY * len(test):
            session.during("data").tell(2, 2, _too_many_repeats(side, count, len(test)))
    losses = (*experiment.generator_losses, *experiment.discriminator_losses)
    about = origin_of(recipe, registry, session, experiment.source, experiment.target)
    about["supervision"] = supervision(recipe.oracle, (item.loss.reads for item in losses))
    ready = time.perf_counter()
    trainer = _trainer(experiment, session)
    loop = Loop(trainer, folder, recipe, source_test.some(SAMPLES), about)
    first = trainer.step_number
    if changed:
        folder.log({"step": first, "seconds": folder.seconds(), "changed": changed})
    with evaluators_kept_out(oracle=recipe.oracle):
        loop.run()
    trained = time.perf_counter()
    experiment.transfer.generator.load_state_dict(trainer.average.module.state_dict())
    with enough_memory("measuring", "what was trained is saved, and the same command goes on; try --device cpu"):
        results = measure(experiment.transfer, recipe, registry, session)
    results |= {"supervision": about["supervision"], "test_images_in_training": repeats, **_said(folder)}
    results |= {"measured_before_at": measured_before} if measured_before else {}
    results |= {"best": {SCORE: loop.best_score, "step": loop.best_step}} if recipe.train.validate_every else {}
    results |= {
        "steps": trainer.step_number,
        "seconds": {
            "data_and_encoder": round(ready - began, 1),
            "training": round(folder.seconds(), 1),
            "evaluation": round(time.perf_counter() - trained, 1),
        },
        "images_per_second": round(2 * (trainer.step_number - first) * recipe.train.batch_size / max(trained - ready, 1e-9), 1),
        "device": str(session.device),
        "precision": str(session.dtype).removeprefix("torch."),
        "computed_on": computed_on(session, deterministic=recipe.train.deterministic),
        "seed": recipe.seed,
    }
    results |= {"processes": session.group.size} if session.group.size > 1 else {}
    folder.save_results(results)
    _show(folder, experiment, source_test, registry, session.during("evaluate"))


def _trainer(experiment: Experiment, session: Session) -> Trainer:
    with enough_memory(
        f"the training images and their features on {session.device}", "take fewer images or a smaller image_size"
    ):
        return Trainer(experiment, session.during("train"))


def _show(folder: RunFolder, experiment: Experiment, source_test: ImageSet, registry: Registry, session: Session) -> None:
    """Keep examples, and write the report. The training is done and measured: nothing about a page may undo that."""
    try:
        write_examples(folder.examples_file, make_examples(experiment.transfer, source_test, experiment.target))
        report(folder.path, registry=registry)
    except Exception as fault:  # noqa: BLE001
        session.tell(1, 1, f"the report could not be written: {fault}; `domtrans report {folder.path}` tries again")


def _said(folder: RunFolder) -> dict[str, Any]:
    """What the log says besides losses: what the health watch found, and what was changed on the way."""
    log = folder.metrics()
    alarms = {name: f"step {line['step']}: {sentence}" for line in log for name, sentence in line.get("alarms", {}).items()}
    changes = [f"from step {line['step']}: {change}" for line in log for change in line.get("changed", ())]
    return {"health": alarms} | ({"changed": changes} if changes else {})


def _measured_before(folder: RunFolder) -> list[int]:
    """Steps at which test figures of this run were on the table already: going on from there was a choice made by them."""
    before = folder.results() or {}
    steps = before.get("measured_before_at", [])
    return [*steps, _steps_done(folder)] if before else []


def _too_many_repeats(side: str, count: int, of: int) -> str:
    return (
        f"{count:,} of the {of:,} test images of the {side} are among its training images, pixel for pixel; the figures "
        "will flatter this run, and the results say so; take the repeated images out of one of the two"
    )


def _not_compared(side: str) -> str:
    return (
        f"the {side} is read from its files as it goes, so its test images were not compared with its training images; see "
        "to it that none is in both"
    )


def _steps_done(folder: RunFolder) -> int:
    return int((folder.results() or {}).get("steps", 0))


@contextmanager
def algorithms(session: Session, *, deterministic: bool) -> Iterator[None]:
    """A block after which torch's own generators are as before.

    ``deterministic``: torch uses deterministic algorithms alone in it; DomtransError for an operation that has none.
    """
    devices = [session.device] if session.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), _deterministic_ones() if deterministic else nullcontext():
        yield


@contextmanager
def _deterministic_ones() -> Iterator[None]:
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tuned, workspace = torch.backends.cudnn.benchmark, os.environ.get(WORKSPACE)
    os.environ.setdefault(WORKSPACE, ":4096:8")  # cuBLAS asks for it
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        reason = " ".join(str(error).split())[:160]
        raise DomtransError(
            f"train.deterministic=true: torch has no deterministic form of what this recipe does on this device ({reason}); "
            "train on the CPU, change the part, or set it to false"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        torch.backends.cudnn.benchmark = tuned
        if workspace is None:
            os.environ.pop(WORKSPACE, None)
