"""How long work takes on its device, and which part of a training step the time goes to."""

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

TOGETHER = 10
"""Steps that an accelerator is given at once: it works while the next are handed to it, as in a training."""
REST = "losses and the rest"
"""What is none of the parts: losses, the running average of g, health figures, Python."""


@dataclass
class Times:
    """Repetitions of a step: seconds by the clock, seconds of this process's processors, and memory on an accelerator."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: int = 0
    """Bytes that a step needed at most beyond what was there before it; 0 where the device does not count them."""

    def take(self, step: Callable[[], object], device: torch.device) -> None:
        """Time a step, or as many as belong together."""
        count, cuda = 1 if device.type == "cpu" else TOGETHER, device.type == "cuda"
        finish(device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) if cuda else 0
        began, busy = time.perf_counter(), time.process_time()
        for _ in range(count):
            step()
        finish(device)
        self.seconds.append((time.perf_counter() - began) / count)
        self.cpu.append((time.process_time() - busy) / count)
        if cuda:
            self.memory = max(self.memory, torch.cuda.max_memory_allocated(device) - before)


def finish(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class Stopwatch:
    """Seconds by part: whoever begins a part says so, and with it the part before has ended."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.part, self.since = device, REST, time.perf_counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.left: list[str] = []
        """The parts inside which the present one runs, the innermost last."""

    def begin(self, part: str) -> None:
        """From here on the time is that part's."""
        finish(self.device)  # else the work of one part would be waited for in another
        now = time.perf_counter()
        self.seconds[self.part] += now - self.since
        self.part, self.since = part, now

    def enter(self, part: str) -> None:
        """``begin`` a part inside the present one."""
        self.left.append(self.part)
        self.begin(part)

    def leave(self, output: Any) -> None:
        """Go back to the part around this one. The backward pass of what made ``output`` is this one's too."""
        part = self.part
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: self.begin(part))  # when it arrives there
        self.begin(self.left.pop())

    def around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time that of a part."""

        def timed(*args: Any) -> Any:
            self.enter(part)
            result = work(*args)
            self.leave(result)
            return result

        return timed

    def follow(self, part: str, network: nn.Module) -> list[RemovableHandle]:
        """The time of a network is that of a part, until the handles are removed."""
        return [
            network.register_forward_pre_hook(lambda *_: self.enter(part)),
            network.register_forward_hook(lambda network, inputs, output: self.leave(output)),
        ]


def parts(trainer: Trainer, steps: int) -> dict[str, float]:
    """Seconds of a step by part: data, f, g, D, views, optimizers, the rest; the mean over some steps.

    On an accelerator the parts are waited for one by one, so that their sum is more than a step takes.
    """
    watch = Stopwatch(trainer.session.device)
    with _watched(trainer, watch):
        trainer.step()  # where hooks are set, the first step takes longer
        watch.begin(REST)
        watch.seconds.clear()
        for _ in range(steps):
            trainer.step()
        watch.begin(REST)
    return {part: seconds / steps for part, seconds in watch.seconds.items()}


@contextmanager
def _watched(trainer: Trainer, watch: Stopwatch) -> Iterator[None]:
    """A block in which every part of the trainer's steps tells the watch when it begins."""
    experiment = trainer.experiment
    trainer.experiment = replace(
        experiment,
        view=experiment.view and watch.around("views", experiment.view),
        discriminator_view=experiment.discriminator_view and watch.around("views", experiment.discriminator_view),
    )
    vars(trainer)["look"] = watch.around("data", trainer.look)
    networks = {"f": trainer.run_f, "g": trainer.run_g, "D": trainer.run_D}
    handles = [handle for name, network in networks.items() for handle in watch.follow(name, network)]
    for optimizer in (trainer.g_optimizer.torch, trainer.D_optimizer.torch):
        handles.append(optimizer.register_step_pre_hook(lambda *_: watch.begin("optimizers")))
        handles.append(optimizer.register_step_post_hook(lambda *_: watch.begin(REST)))
    try:
        yield
    finally:
        del vars(trainer)["look"]
        trainer.experiment = experiment
        for handle in handles:
            handle.remove()
