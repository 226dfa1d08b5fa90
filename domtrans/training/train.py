"""``train``: a recipe in, a run folder with a trained and measured transfer out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from domtrans.compute.deterministic import isolated_algorithms
from domtrans.compute.distributed import local_device, process_group
from domtrans.compute.memory import enough_memory, freed_memory_kept
from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.data.summary import summarize
from domtrans.errors import DomtransError
from domtrans.evaluation.evaluate import measure
from domtrans.evaluation.leak_guard import NOTABLE_REPEATS, count_repeated, evaluators_kept_out, supervision
from domtrans.evaluation.results import enlarged_in_words, results_of
from domtrans.model.image_sizes import check_image_size, enlarged_from
from domtrans.pretrained.locate import local_path
from domtrans.progress.display import session_with_display
from domtrans.recipe.data import check_data_is_here, find_with_data
from domtrans.recipe.overrides import override, parse
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.reporting.report import report
from domtrans.runs.examples import make_examples, write_examples
from domtrans.runs.folder import RunFolder, default_folder
from domtrans.runs.load import open_run
from domtrans.runs.provenance import origin_of
from domtrans.runs.published_folder import run_folder
from domtrans.runs.resume import DATA, check_data, describe_data, may_change
from domtrans.runs.run import Run
from domtrans.runs.trackers import Trackers, open_trackers, resolve_trackers
from domtrans.session import Listeners, Session, as_listeners
from domtrans.training.begin import begin_with
from domtrans.training.experiment import Experiment, prepare
from domtrans.training.loop import Loop, follow
from domtrans.training.out_of_memory import check_memory
from domtrans.training.results import check_facts, is_finished, measured_before, run_facts
from domtrans.training.trainer import Trainer
from domtrans.training.updates import images_per_step

SAMPLES = 32
"""Source test images in a sample grid."""


def train(
    recipe: Recipe | str,
    out: str | Path | None = None,
    *,
    source: Any = None,
    target: Any = None,
    overrides: list[str] | tuple[str, ...] | Mapping[str, Any] | None = (),
    device: str = "auto",
    resume: bool = False,
    allow_changes: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    registry: Registry | None = None,
    progress: bool | None = None,
    listeners: Listeners = (),
    stop: threading.Event | None = None,
    track: Sequence[str | Part] = (),
) -> Run:
    """Train a recipe and measure the result.

    A run folder that holds the same recipe resumes from its last save. Processes that torchrun started train together
    (docs/distributed.md).

    Args:
        recipe: A recipe, the name of a registered one, or a TOML or JSON file.
        out: The run folder; ``runs/NAME`` by default. Also an address of an object store, such as ``s3://bucket/run``, where
            everything is published at every save (docs/cluster.md).
        source: The source, instead of the recipe's: an ImageSet; an array or tensor of images; a list of PIL images; a
            map-style Dataset of torch; a Dataset of Hugging Face; a pair of images and labels; or ``{"train": X, "test": Y}``
            of these (docs/how-to/python.md). Also a domain: its name, or a table such as ``{"name": "folder", "path": ...}``.
        target: The target, likewise.
        overrides: Changes to the recipe, as ``["train.steps=2000"]``, ``{"train.steps": 2000}`` or
            ``{"train": {"steps": 2000}}``.
        device: "cpu", "cuda", "cuda:N", "mps", or "auto" for the best one here.
        resume: Insist on resuming. ``train.steps`` and the intervals of log, saves and samples may then differ.
        allow_changes: Other changes to the recipe that a resumed run accepts, in the form of ``overrides``; "data" accepts
            other data than the run was started with. The results name them.
        registry: Where parts are looked up; by default what the installed plugins registered.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.
        listeners: One function, or several, called with every Progress.
        stop: When it is set, training saves and raises Stopped.
        track: Trackers: each a part, its name, or its table as JSON (docs/trackers.md).

    Returns:
        The trained run, loaded.

    Raises:
        DomtransError: For anything that the user can fix.
        Stopped: After ``stop`` was set.
    """
    registry = registry or load_plugins().registry
    resolved, registry = find_with_data(recipe, registry, overrides, {"source": source, "target": target})
    resolved = override(resolved, _without_data(allow_changes), registry) if allow_changes else resolved
    config = resolved.train
    tracker_parts = resolve_trackers(track, registry)
    folder = run_folder(Path(out) if out is not None else default_folder(resolved.name))
    allowed = _changeable(allow_changes, resume=resume)
    if allowed and is_finished(folder, config.steps):
        raise DomtransError(f"the run in {folder.name} is finished; to change it, resume it with more train.steps as well")
    check_image_size(resolved, registry)
    if not is_finished(folder, config.steps):
        folder.check_not_replaced()
        check_data_is_here(resolved, registry, "domtrans.train")
    stop = stop or threading.Event()
    device = local_device(device)
    with process_group(device, stop) as group:
        group.micro_batch_size(config.batch_size, config.accumulate)  # refuses a batch before anything takes time
        listeners = as_listeners(listeners) if group.is_main else ()
        session = Session.start(
            device,
            precision=config.precision,
            seed=resolved.seed,
            listeners=listeners,
            stop=stop,
            workers=config.workers,
            group=group,
        )
        with (
            session_with_display(session, progress) as session,
            closing(session.decode_pool),
            freed_memory_kept(),
            isolated_algorithms(session.device, deterministic=config.deterministic),
        ):
            if group.is_main:
                with folder.open(resolved, registry, resume=resume, allowed=allowed) as changed:
                    unfinished = not is_finished(folder, config.steps)
                    group.any_of(unfinished=unfinished)
                    if unfinished:
                        with open_trackers(tracker_parts, folder.path, resolved, registry, session) as trackers:
                            other_data = DATA in allowed
                            _train_and_measure(resolved, registry, session, folder, trackers, changed, other_data=other_data)
                    else:
                        session.during("train").note(
                            config.steps,
                            config.steps,
                            "this run is finished, so nothing was trained; --out starts another, and --resume with more "
                            "train.steps continues it",
                        )
            else:
                (unfinished,) = group.any_of(unfinished=False)
                folder.check_shared()
                if unfinished:
                    _follow_and_measure(resolved, registry, session)
        group.barrier()  # until the main process has written everything
        written = folder.path if group.is_main else folder.shared_path
    return open_run(local_path(written), device=str(session.device), registry=registry, listeners=listeners)


def _train_and_measure(
    recipe: Recipe,
    registry: Registry,
    session: Session,
    folder: RunFolder,
    trackers: Trackers,
    changed: list[str],
    *,
    other_data: bool,
) -> None:
    """What the main process does: prepare, run the loop, measure, and write results and report."""
    began = time.perf_counter()
    earlier_measurements = measured_before(folder)
    source_test = load_domain(registry, recipe.source, "test", recipe.image_size)
    target_test = load_domain(registry, recipe.target, "test", recipe.image_size)

    data_notes: dict[str, list[str]] = {}

    for choice in recipe.choices:
        session.during("data").note(0, 2, choice)

    def on_data(source: ImageSet, target: ImageSet) -> None:
        images = {"source train": source, "source test": source_test, "target train": target, "target test": target_test}
        changed.extend(_check_and_save_data(folder, images, allowed=other_data))
        data_notes.update({name: list(each.notes) for name, each in images.items() if each.notes})
        for name, train, test in (("source", source, source_test), ("target", target, target_test)):
            session.during("data").note(2, 2, f"{name}: {summarize(train, test)}")

    experiment = prepare(recipe, registry, session, on_data=on_data)
    repeats = {
        "source": count_repeated(experiment.source, source_test),
        "target": count_repeated(experiment.target, target_test),
    }
    _warn_about_repeats(session.during("data"), repeats, {"source": len(source_test), "target": len(target_test)})
    drawn_size = enlarged_from(experiment.transfer.generator, recipe.image_size)
    if drawn_size:
        session.during("data").note(2, 2, enlarged_in_words(drawn_size, recipe.image_size))
    losses = (*experiment.generator_losses, *experiment.discriminator_losses)
    about = origin_of(recipe, registry, session, experiment.source, experiment.target)
    about["supervision"] = supervision(recipe, (item.loss.reads for item in losses))
    prepared = time.perf_counter()
    begin_with(recipe, experiment, session.during("data"))
    trainer = _trainer(experiment, session)
    loop = Loop(trainer, folder, recipe, source_test.some(SAMPLES), about, trackers)
    with evaluators_kept_out(oracle=recipe.oracle):
        loop.run(changed)
    trained = time.perf_counter()
    experiment.transfer.generator.load_state_dict(trainer.average.module.state_dict())
    with enough_memory("measuring", "the training is saved, and the same command continues; try --device cpu"):
        measured = measure(experiment.transfer, recipe, registry, session, experiment.source.classes)
    images = (trainer.step_number - loop.first_step) * images_per_step(recipe.train)
    seconds = {
        "data_and_encoder": prepared - began,
        "training": folder.seconds(),
        "evaluation": time.perf_counter() - trained,
    }
    run = run_facts(
        recipe,
        session,
        steps=trainer.step_number,
        seconds=seconds,
        images_per_second=images / max(trained - prepared, 1e-9),
    )
    checks = check_facts(
        recipe,
        folder,
        supervision=about["supervision"],
        repeats=repeats,
        data_notes=data_notes,
        drawn_size=drawn_size,
        measured_before=earlier_measurements,
        best=(loop.best_score, loop.best_step),
    )
    results = results_of(measured, run=run, checks=checks)
    folder.save_results(results)
    trackers.close(results)
    _write_report(folder, experiment, source_test, registry, session.during("evaluate"))


def _follow_and_measure(recipe: Recipe, registry: Registry, session: Session) -> None:
    """What every other process does: its share of the steps and of the measuring. It writes nothing."""
    experiment = prepare(recipe, registry, session)
    trainer = _trainer(experiment, session)
    with evaluators_kept_out(oracle=recipe.oracle):
        follow(trainer)
    experiment.transfer.generator.load_state_dict(trainer.average.module.state_dict())
    measure(experiment.transfer, recipe, registry, session, experiment.source.classes)


def _trainer(experiment: Experiment, session: Session) -> Trainer:
    with enough_memory(
        f"the training images and their features on {session.device}", "use fewer images or a smaller image_size"
    ):
        trainer = Trainer(experiment, session.during("train"))
    check_memory(trainer)
    return trainer


def _write_report(
    folder: RunFolder, experiment: Experiment, source_test: ImageSet, registry: Registry, session: Session
) -> None:
    """Write examples and report. The run is trained and measured by now, so a failure is a note and no error."""
    try:
        write_examples(folder.examples_file, make_examples(experiment.transfer, source_test, experiment.target))
        report(folder.path, registry=registry)
    except Exception as fault:  # noqa: BLE001
        session.note(1, 1, f"the report could not be written: {fault}; `domtrans report {folder.path}` tries again")


def _check_and_save_data(folder: RunFolder, images: Mapping[str, ImageSet], *, allowed: bool) -> list[str]:
    """Compare the data with that of the run so far, and write data.json. Returns the changes, if they are allowed."""
    now, changes = describe_data(images), []
    if folder.has_started():
        before, compared = folder.data(), now
        if not before:  # a run of an earlier version: its model file has fingerprints, of the target without labels
            before = {f"{name} train": {"fingerprint": known} for name, known in folder.data_of_model().items()}
            compared = now | describe_data({"target train": images["target train"].unlabelled()})
        changes = check_data(folder.name, before, compared, allowed=allowed)
    folder.save_data(now)
    return changes


def _changeable(changes: list[str] | tuple[str, ...] | Mapping[str, Any], *, resume: bool) -> list[str]:
    """The paths of ``allow_changes``; raises DomtransError for one that the saved state depends on."""
    if isinstance(changes, Mapping):
        paths = list(changes)
    else:
        paths = [DATA if change == DATA else parse([change])[0][0] for change in changes]
    if paths and not resume:
        raise DomtransError("--allow-changes is for a run that resumes; add --resume")
    for path in paths:
        if path != DATA and not may_change(path):
            raise DomtransError(
                f"'{path}' cannot change when a run resumes, because the saved state was learned with it; start another run "
                "with --out"
            )
    return paths


def _without_data(changes: list[str] | tuple[str, ...] | Mapping[str, Any]) -> list[str] | dict[str, Any]:
    """The entries of ``allow_changes`` that change the recipe."""
    if isinstance(changes, Mapping):
        return {path: value for path, value in changes.items() if path != DATA}
    return [change for change in changes if change != DATA]


def _warn_about_repeats(session: Session, repeats: Mapping[str, int | None], sizes: Mapping[str, int]) -> None:
    """Tell the user if many test images are among the training images, or if they were not compared."""
    for domain, count in repeats.items():
        if count is None:
            note = (
                f"the test images of the {domain} were not compared with its training images, because the {domain} is read "
                "from files during training; make sure that no image is in both"
            )
        elif count > NOTABLE_REPEATS * sizes[domain]:
            note = (
                f"{count:,} of the {sizes[domain]:,} test images of the {domain} are among its training images, pixel for "
                "pixel; the results will look too good, and they say so; remove the repeated images from one of the two"
            )
        else:
            continue
        session.note(2, 2, note)
