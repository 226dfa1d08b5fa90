"""Means of the losses between two lines of the log."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from domtrans.training.checkpoint import with_prefix


class Meter:
    """Sums the losses of steps. The sums stay on the device, so that only ``read`` waits for it.

    Args:
        step: The step that the run stands at.
        seconds: Time spent on the run so far.
        state: A saved state, for a run that resumes.
    """

    def __init__(self, step: int, seconds: float = 0.0, state: Mapping[str, Tensor] | None = None) -> None:
        self.sums = with_prefix(state or {}, "meter.sum.")
        self.counts = {name: int(count) for name, count in with_prefix(state or {}, "meter.count.").items()}
        self.last, self.last_step = time.perf_counter(), step
        self.began = self.last - seconds

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of one step."""
        for name, value in losses.items():
            self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self, step: int, images_per_step: int) -> dict[str, float]:
        """``{"step", "seconds", "images_per_second", loss: mean, ...}`` since the last reading. Resets the sums."""
        means = {name: round(float(total) / self.counts[name], 6) for name, total in self.sums.items()}
        now = time.perf_counter()
        speed = (step - self.last_step) * images_per_step / max(now - self.last, 1e-9)
        record = {"step": step, "seconds": round(now - self.began, 2), "images_per_second": round(speed, 1), **means}
        self.sums, self.counts, self.last, self.last_step = {}, {}, now, step
        return record

    def state(self) -> dict[str, Tensor]:
        """What was added since the last reading. A resumed run then logs the same means."""
        sums = {f"meter.sum.{name}": total for name, total in self.sums.items()}
        return sums | {f"meter.count.{name}": torch.tensor(count) for name, count in self.counts.items()}
