"""``bench``: how long a training step takes, beside other ways to take it and beside what the machine could do at best."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from domtrans.benchmark.plain_loop import PlainLoop, held, loaded
from domtrans.benchmark.profile import Times, parts
from domtrans.benchmark.roofline import floor
from domtrans.compute.memory import enough_memory, peak
from domtrans.errors import DomtransError
from domtrans.recipe.files import find_recipe
from domtrans.recipe.overrides import override
from domtrans.recipe.schema import Recipe
from domtrans.registry.plugins import load_plugins
from domtrans.registry.registry import Registry
from domtrans.runs.folder import versions
from domtrans.runs.provenance import computed_on
from domtrans.session import Listener, Session
from domtrans.training.experiment import Experiment, prepare
from domtrans.training.out_of_memory import take_step
from domtrans.training.train import algorithms
from domtrans.training.trainer import Trainer

OURS, PLAIN, LOADED = "domtrans", "plain loop", "plain loop and its data"
"""What is timed: domtrans with its data, and the plain loop with a batch that is ready, and with its DataLoader."""
WARM_UP = 2
LONG = 1_000_000
"""Steps of the run in whose middle the trainer stands: more than anybody measures."""
LOOKED_INTO = 10
"""Steps, at most, over which it is found out where the time goes."""

Steps = Mapping[str, Callable[[], object]]


def bench(
    recipe: Recipe | str,
    *,
    overrides: list[str] | tuple[str, ...] | Mapping[str, Any] = (),
    against: Sequence[str] = ("plain",),
    steps: int = 20,
    device: str = "auto",
    registry: Registry | None = None,
    listeners: tuple[Listener, ...] = (),
) -> dict[str, Any]:
    """Time whole training steps of a recipe, in turns with what they are compared with, in this process.

    ``against``: "plain" is the loop that one writes down from the paper, once with a batch that is ready and once with its
    data; anything else is a change to the recipe, such as "train.precision=float32", by which domtrans is compared with itself.
    ``steps``: timed repetitions of each. f has learnt nothing, which costs the same, and the run stands where the most loss
    terms count. Returns what ``domtrans bench --json`` prints (docs/benchmarks.md); nothing is written.
    Raises DomtransError for anything that the user can mend.
    """
    if steps < 1:
        raise DomtransError(f"{steps} steps cannot be timed; ask for at least 1")
    registry = registry or load_plugins().registry
    found = find_recipe(recipe, registry) if isinstance(recipe, str) else recipe.resolve(registry)
    found = override(found, overrides, registry) if overrides else found
    changed = {change: override(found, [change], registry) for change in against if change != "plain"}
    with ExitStack() as stack:
        session = stack.enter_context(session_of(found, device, listeners))
        trainer, setup = set_up(found, registry, session)
        contenders: dict[str, Callable[[], object]] = {OURS: lambda: take_step(trainer)}
        if "plain" in against:
            contenders |= plain_steps(trainer)
        for change, other in changed.items():
            theirs = stack.enter_context(session_of(other, device, listeners))
            contenders[change] = set_up(other, registry, theirs)[0].step
        times = race(contenders, steps, trainer)
        return {
            "recipe": found.name,
            "image_size": found.image_size,
            "batch_size": found.train.batch_size,
            "steps": steps,
            **surroundings(found, session),
            "setup_seconds": setup,
            "times": times,
            **anatomy(trainer, min(steps, LOOKED_INTO)),
            **peak(session.device),
        }


@contextmanager
def session_of(recipe: Recipe, device: str, listeners: tuple[Listener, ...]) -> Iterator[Session]:
    """A block with a session as the training of this recipe would have it."""
    config = recipe.train
    session = Session.start(device, precision=config.precision, seed=recipe.seed, listeners=listeners, workers=config.workers)
    with closing(session.readers), algorithms(session, deterministic=config.deterministic):
        yield session


def set_up(
    recipe: Recipe, registry: Registry, session: Session, alter: Callable[[Experiment], Experiment] = lambda found: found
) -> tuple[Trainer, float]:
    """A trainer in the middle of a run, where the most terms count, and the seconds that it took to be built.

    They are what the engine does once to spare it in every step: f of every image. ``alter``: what else is to be different.
    """
    config = recipe.train.model_copy(update={"steps": LONG})
    unfitted = recipe.model_copy(update={"fit": None, "adapt": None, "train": config})
    experiment = alter(prepare(unfitted, registry, session))
    began = time.perf_counter()
    with enough_memory("the training images and their features", "take fewer images or a smaller image_size"):
        trainer = Trainer(experiment, session.during("train"))
    setup = time.perf_counter() - began
    terms = [item.term for item in (*experiment.generator_losses, *experiment.discriminator_losses)]
    busiest = max((term.start for term in terms), key=lambda progress: sum(term.active(progress) for term in terms))
    trainer.step_number = math.ceil(busiest * LONG)
    return trainer, setup


def plain_steps(trainer: Trainer) -> dict[str, Callable[[], object]]:
    """The plain loop's step without and with its data, which as many processes load as decode for the engine."""
    sets, size = (trainer.source, trainer.target), trainer.config.batch_size
    return {
        PLAIN: PlainLoop(trainer, held(*sets, size)).step,
        LOADED: PlainLoop(trainer, loaded(*sets, size, trainer.session.readers.count)).step,
    }


def race(contenders: Steps, steps: int, trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Times of every contender, taken in turns, so that what else the machine does meets all of them alike.

    Where the trainer's images are read from files they come one after another: who has to wait would read ahead for nothing.
    """
    session, times = trainer.session, {name: Times() for name in contenders}
    during = session.during("timing steps")
    for group in [tuple(contenders)] if in_memory(trainer) else [(name,) for name in contenders]:
        with enough_memory("these steps side by side", "take a smaller --batch-size"):
            for turn in range(WARM_UP + steps):
                during.report(turn, WARM_UP + steps)
                for name in group:
                    (times[name] if turn >= WARM_UP else Times()).take(contenders[name], session.device)
        during.report(WARM_UP + steps, WARM_UP + steps)
    found = {name: in_short(taken) for name, taken in times.items()}
    for name in found.keys() - {OURS}:
        for key, ratio in (("median", "ratio"), ("cpu_median", "cpu_ratio")):
            found[name][ratio] = found[name][key] / found[OURS][key]
    return found


def in_short(times: Times) -> dict[str, Any]:
    """Median and quartiles of the seconds of a step by the clock, the median of processor time, and all of the seconds."""
    cuts = statistics.quantiles(times.seconds, n=4, method="inclusive") if len(times.seconds) > 1 else times.seconds * 3
    short = {"median": cuts[1], "quartiles": [cuts[0], cuts[2]], "cpu_median": statistics.median(times.cpu)}
    memory = {"memory_mb": round(times.memory / 2**20)} if times.memory else {}
    return {**short, **memory, "seconds": times.seconds}


def anatomy(trainer: Trainer, steps: int) -> dict[str, Any]:
    """Where the time of a step goes, the share of it that waits for images where they are read, and the floor."""
    during = trainer.session.during("looking into a step")
    during.report(0, 2)
    by_part = parts(trainer, steps)
    during.report(1, 2)
    least = floor(trainer.step, trainer.session.device, trainer.session.dtype)
    during.report(2, 2)
    return {
        "parts": by_part,
        **waits(trainer, steps),
        "floor": {
            "operations": least.operations,
            "operations_per_second": least.operations_per_second,
            "arithmetic_seconds": least.arithmetic,
            "bytes": least.moved,
            "bytes_per_second": least.moved_per_second,
            "traffic_seconds": least.traffic,
            "seconds": least.seconds,
        },
    }


def waits(trainer: Trainer, steps: int) -> dict[str, float]:
    """``{"data_wait": ...}``: the share of the time of some steps that waits for images; nothing where they are in memory."""
    if in_memory(trainer):
        return {}
    trainer.step()  # after a pause everything has been read ahead
    trainer.reading()  # begins anew with every call
    for _ in range(steps):
        trainer.step()
    return {"data_wait": trainer.reading()["data_wait"]}


def in_memory(trainer: Trainer) -> bool:
    """Whether no image has to be read."""
    return trainer.source.in_memory and trainer.target.in_memory


def surroundings(recipe: Recipe, session: Session) -> dict[str, Any]:
    """What the figures hang on beside the recipe; ``load``: processes that wanted a processor in the minute before."""
    load = {"load": round(os.getloadavg()[0], 1)} if hasattr(os, "getloadavg") else {}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "computed_on": computed_on(session, deterministic=recipe.train.deterministic),
        "cores": os.cpu_count(),
        **load,
        "versions": versions(),
    }
