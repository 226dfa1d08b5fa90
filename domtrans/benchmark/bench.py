"""``bench``: the time of a training step, next to other ways to compute it and to the limits of the machine."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from domtrans.benchmark.plain_loop import PlainLoop, data_loader_batches, fixed_batch
from domtrans.benchmark.profile import StepTimes, profile_step, without_recordings
from domtrans.benchmark.roofline import lower_bound
from domtrans.compute.deterministic import isolated_algorithms
from domtrans.compute.memory import enough_memory, freed_memory_kept, peak_memory
from domtrans.errors import DomtransError
from domtrans.model.image_sizes import check_image_size
from domtrans.progress.display import with_display
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from domtrans.recipe.schema import Recipe
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.folder import versions
from domtrans.runs.provenance import computed_on
from domtrans.session import Listeners, Session
from domtrans.training.domain import LoadingStatistics
from domtrans.training.experiment import Experiment, prepare
from domtrans.training.out_of_memory import guarded_step
from domtrans.training.trainer import Trainer
from domtrans.training.updates import images_per_step

OURS, PLAIN, PLAIN_WITH_DATA = "domtrans", "plain loop", "plain loop and its data"
"""What is timed: domtrans with its data, the plain loop with one fixed batch, and the plain loop with its DataLoader."""
WARM_UP_STEPS = 2
RUN_STEPS = 1_000_000
"""Length of the run that the timed steps belong to: more steps than anybody times."""
MAX_PROFILED_STEPS = 10

Steps = Mapping[str, Callable[[], object]]
"""Functions that take one step, by the name of what they stand for."""


def bench(
    recipe: Recipe | str,
    *,
    overrides: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    against: Sequence[str] = ("plain",),
    steps: int = 20,
    device: str = "auto",
    registry: Registry | None = None,
    progress: bool | None = None,
    listeners: Listeners = (),
) -> dict[str, Any]:
    """Time training steps of a recipe, alternating with the steps that they are compared with, in this process.

    f is not fitted, which costs the same, and the run is at the point where the most loss terms are active. Nothing is written.

    Args:
        recipe: A recipe or its name.
        overrides: Changes to the recipe.
        against: What to compare with. "plain" is a plain training loop of the same networks, once with a fixed batch and
            once with its own DataLoader. Anything else is a change to the recipe, such as "train.precision=float32".
        steps: Timed steps of each.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        registry: Parts to use; by default those of all plugins.
        progress: Show progress on standard error: True always, False never, None on a terminal and in a notebook.
        listeners: One function, or several, called with every Progress.

    Returns:
        What ``domtrans bench --json`` prints; docs/benchmarks.md describes it.

    Raises:
        DomtransError: If the recipe, a change or the device is wrong, or the steps do not fit into memory.
    """
    if steps < 1:
        raise DomtransError(f"bench needs at least 1 step to time, not {steps}")
    registry = registry or load_plugins().registry
    resolved = find_recipe(recipe, registry, overrides) if isinstance(recipe, str) else override(recipe, overrides, registry)
    changed = {change: override(resolved, [change], registry) for change in against if change != "plain"}
    with ExitStack() as stack:
        everyone = stack.enter_context(with_display(listeners, progress))
        session = stack.enter_context(open_session(resolved, device, everyone))
        trainer, setup_seconds = build_trainer(resolved, registry, session)
        contenders: dict[str, Callable[[], object]] = {OURS: lambda: guarded_step(trainer)}
        if "plain" in against:
            contenders |= plain_steps(trainer)
        for change, other in changed.items():
            other_session = stack.enter_context(open_session(other, device, everyone))
            contenders[change] = build_trainer(other, registry, other_session)[0].step
        times = time_in_turns(contenders, steps, trainer)
        return {
            "recipe": resolved.name,
            "image_size": resolved.image_size,
            "batch_size": resolved.train.batch_size,
            "images_in_a_step": images_per_step(resolved.train),
            "steps": steps,
            **environment(resolved, session),
            "setup_seconds": setup_seconds,
            "times": times,
            **profile(trainer, min(steps, MAX_PROFILED_STEPS)),
            **peak_memory(session.device),
        }


@contextmanager
def open_session(recipe: Recipe, device: str, listeners: Listeners) -> Iterator[Session]:
    """Open a session as the training of this recipe does."""
    config = recipe.train
    session = Session.start(device, precision=config.precision, seed=recipe.seed, listeners=listeners, workers=config.workers)
    algorithms = isolated_algorithms(session.device, deterministic=config.deterministic)
    with closing(session.decode_pool), freed_memory_kept(), algorithms:
        yield session


def build_trainer(
    recipe: Recipe,
    registry: Registry,
    session: Session,
    alter: Callable[[Experiment], Experiment] = lambda experiment: experiment,
) -> tuple[Trainer, float]:
    """Build a trainer in the middle of a run, where the most loss terms are active.

    Args:
        alter: A last change to the experiment, such as other images.

    Returns:
        The trainer, and the seconds that it took to build. They go into f of every image, which no step has to compute then.
    """
    check_image_size(recipe, registry)
    config = recipe.train.model_copy(update={"steps": RUN_STEPS})
    unfitted = recipe.model_copy(update={"fit": None, "adapt": None, "train": config})
    experiment = alter(prepare(unfitted, registry, session))
    start = time.perf_counter()
    with enough_memory("the training images and their features", "take fewer images or a smaller image_size"):
        trainer = Trainer(experiment, session.during("train"))
    setup_seconds = time.perf_counter() - start
    terms = [item.term for item in (*experiment.generator_losses, *experiment.discriminator_losses)]
    busiest = max((term.start for term in terms), key=lambda progress: sum(term.active(progress) for term in terms))
    trainer.step_number = math.ceil(busiest * RUN_STEPS)
    return trainer, setup_seconds


def plain_steps(trainer: Trainer) -> dict[str, Callable[[], object]]:
    """Steps of the plain loop with a fixed batch, and with a DataLoader of as many processes as decode for domtrans."""
    sets, size = (trainer.source, trainer.target), trainer.config.batch_size
    return {
        PLAIN: PlainLoop(trainer, fixed_batch(*sets, size)).step,
        PLAIN_WITH_DATA: PlainLoop(trainer, data_loader_batches(*sets, size, trainer.session.decode_pool.count)).step,
    }


def time_in_turns(contenders: Steps, steps: int, trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Time all contenders in turns, so that other load on the machine affects them alike.

    If the trainer reads its images from files, the contenders run one after another instead: while one of them runs, the
    decode processes of the others would read ahead and distort both.

    Returns:
        By name of the contender, what ``summarise`` says of its times, and their ratio to those of domtrans.
    """
    session, times = trainer.session, {name: StepTimes() for name in contenders}
    phase = session.during("time")
    for group in [tuple(contenders)] if is_in_memory(trainer) else [(name,) for name in contenders]:
        with enough_memory("these steps side by side", "take a smaller --batch-size"):
            for turn in range(WARM_UP_STEPS + steps):
                phase.progress(turn, WARM_UP_STEPS + steps)
                for name in group:
                    (times[name] if turn >= WARM_UP_STEPS else StepTimes()).add(contenders[name], session.device)
        phase.progress(WARM_UP_STEPS + steps, WARM_UP_STEPS + steps)
    summaries = {name: summarise(measured) for name, measured in times.items()}
    for name in summaries.keys() - {OURS}:
        for key, ratio in (("median", "ratio"), ("cpu_median", "cpu_ratio")):
            summaries[name][ratio] = summaries[name][key] / summaries[OURS][key]
    return summaries


def summarise(times: StepTimes) -> dict[str, Any]:
    """Median, quartiles and values of the wall-clock seconds of a step, and the median of its processor time."""
    quartiles = statistics.quantiles(times.seconds, n=4, method="inclusive") if len(times.seconds) > 1 else times.seconds * 3
    summary = {
        "median": quartiles[1],
        "quartiles": [quartiles[0], quartiles[2]],
        "cpu_median": statistics.median(times.cpu_seconds),
    }
    memory = {"memory_mb": round(times.memory_bytes / 2**20)} if times.memory_bytes else {}
    return {**summary, **memory, "seconds": times.seconds}


def profile(trainer: Trainer, steps: int) -> dict[str, Any]:
    """The time of a step by part, the share that waits for images if they are read from files, and the lower bound."""
    phase = trainer.session.during("profile")
    phase.progress(0, 2)
    with without_recordings(trainer):  # a replay calls no parts and no operations
        parts = profile_step(trainer, steps)
        phase.progress(1, 2)
        bound = lower_bound(trainer.step, trainer.session.device, trainer.session.dtype)
    phase.progress(2, 2)
    return {
        "parts": parts,
        **data_wait(trainer, steps),
        "floor": {
            "operations": bound.operations,
            "operations_per_second": bound.operations_per_second,
            "arithmetic_seconds": bound.arithmetic_seconds,
            "bytes": bound.bytes_moved,
            "bytes_per_second": bound.bytes_per_second,
            "traffic_seconds": bound.traffic_seconds,
            "seconds": bound.seconds,
        },
    }


def data_wait(trainer: Trainer, steps: int) -> dict[str, float]:
    """``{"data_wait": share of the time of some steps that waits for images}``; empty if all images are in memory."""
    if is_in_memory(trainer):
        return {}
    trainer.step()  # after a pause, everything has been read ahead
    loading = LoadingStatistics(trainer.domains)
    for _ in range(steps):
        trainer.step()
    return {"data_wait": loading.read()["data_wait"]}


def is_in_memory(trainer: Trainer) -> bool:
    """Whether no training image has to be read from a file."""
    return trainer.source.in_memory and trainer.target.in_memory


def environment(recipe: Recipe, session: Session) -> dict[str, Any]:
    """What the times depend on beside the recipe; ``load``: processes that wanted a processor in the last minute."""
    load = {"load": round(os.getloadavg()[0], 1)} if hasattr(os, "getloadavg") else {}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "computed_on": computed_on(session, deterministic=recipe.train.deterministic),
        "cores": os.cpu_count(),
        **load,
        "versions": versions(),
    }
