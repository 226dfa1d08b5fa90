"""The time of a training step: of whole steps, and of the parts of one step."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from domtrans.training.trainer import Trainer

STEPS_PER_MEASUREMENT = 10
"""Steps that are timed at once on an accelerator: as in a training, it computes one while the next is queued."""
REST = "losses and the rest"
"""What belongs to no other part: losses, the moving average of g, health values, Python."""


@dataclass
class StepTimes:
    """Repeated measurements of a step: wall-clock seconds, seconds of this process's processors, and GPU memory."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_bytes: int = 0
    """The most memory that a step needed beyond what was in use before it; 0 where the device does not count it."""

    def add(self, step: Callable[[], object], device: torch.device) -> None:
        """Time one step, or several together on an accelerator."""
        count, cuda = 1 if device.type == "cpu" else STEPS_PER_MEASUREMENT, device.type == "cuda"
        synchronize(device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        memory_before = torch.cuda.memory_allocated(device) if cuda else 0
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(count):
            step()
        synchronize(device)
        self.seconds.append((time.perf_counter() - start) / count)
        self.cpu_seconds.append((time.process_time() - cpu_start) / count)
        if cuda:
            self.memory_bytes = max(self.memory_bytes, torch.cuda.max_memory_allocated(device) - memory_before)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class PartTimer:
    """Seconds by part. ``begin`` starts a part and ends the one before."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.part, self.start = device, REST, time.perf_counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.outer: list[str] = []
        """The parts that contain the present one, the innermost last."""

    def begin(self, part: str) -> None:
        """Count the time from now on for this part."""
        synchronize(self.device)  # else the work of one part would be waited for in another
        now = time.perf_counter()
        self.seconds[self.part] += now - self.start
        self.part, self.start = part, now

    def enter(self, part: str) -> None:
        """``begin`` a part inside the present one."""
        self.outer.append(self.part)
        self.begin(part)

    def leave(self, output: Any) -> None:
        """Return to the outer part. The backward pass of what made ``output`` counts for the part that is left."""
        part = self.part
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: self.begin(part))  # when the gradient arrives there
        self.begin(self.outer.pop())

    def wrap(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; its time counts for the part."""

        def timed(*args: Any) -> Any:
            self.enter(part)
            result = work(*args)
            self.leave(result)
            return result

        return timed

    def attach(self, part: str, network: nn.Module) -> list[RemovableHandle]:
        """Count the time of a network for a part, until the returned handles are removed."""
        return [
            network.register_forward_pre_hook(lambda *_: self.enter(part)),
            network.register_forward_hook(lambda network, inputs, output: self.leave(output)),
        ]


def profile_step(trainer: Trainer, steps: int) -> dict[str, float]:
    """Mean seconds of a step by part: data, f, g, D, views, optimizers, the rest.

    On an accelerator every part is waited for, so the parts add up to more than a step takes.
    """
    timer = PartTimer(trainer.session.device)
    with _timed_parts(trainer, timer):
        trainer.step()  # the first step with hooks takes longer
        timer.begin(REST)
        timer.seconds.clear()
        for _ in range(steps):
            trainer.step()
        timer.begin(REST)
    return {part: seconds / steps for part, seconds in timer.seconds.items()}


@contextmanager
def without_recordings(trainer: Trainer) -> Iterator[None]:
    """A block in which steps are not replayed from CUDA graphs."""
    captured, trainer.captured = trainer.captured, None
    try:
        yield
    finally:
        trainer.captured = captured


@contextmanager
def _timed_parts(trainer: Trainer, timer: PartTimer) -> Iterator[None]:
    """Attach the timer to every part of the trainer's steps until the block ends."""
    experiment = trainer.experiment
    trainer.experiment = replace(
        experiment,
        view=experiment.view and timer.wrap("views", experiment.view),
        discriminator_view=experiment.discriminator_view and timer.wrap("views", experiment.discriminator_view),
    )
    vars(trainer)["load_micro_batch"] = timer.wrap("data", trainer.load_micro_batch)
    networks = {"f": trainer.forward_f, "g": trainer.forward_g, "D": trainer.forward_D}
    handles = [handle for name, network in networks.items() for handle in timer.attach(name, network)]
    for optimizer in (trainer.g_optimizer.torch, trainer.D_optimizer.torch):
        handles.append(optimizer.register_step_pre_hook(lambda *_: timer.begin("optimizers")))
        handles.append(optimizer.register_step_post_hook(lambda *_: timer.begin(REST)))
    try:
        yield
    finally:
        del vars(trainer)["load_micro_batch"]
        trainer.experiment = experiment
        for handle in handles:
            handle.remove()
