"""The phase that runs, as far as its reports tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domtrans.session import Phase, Progress

PHASE_LABELS: Mapping[Phase, str] = {
    "data": "loading data",
    "inspect": "reading images",
    "fit": "fitting f",
    "adapt": "adapting f",
    "oracle": "fitting the oracle",
    "encode": "encoding images",
    "train": "training g and D",
    "evaluate": "evaluating",
    "generate": "transferring",
    "transfer": "transferring",
    "render": "rendering",
    "time": "timing steps",
    "profile": "profiling a step",
}
SHOWN_APART = ("step", "seconds", "images_per_second")
NOT_LOSSES = (*SHOWN_APART, "data_wait", "damaged", "memory_mb")
HEALTH = "health."


@dataclass
class RunningPhase:
    """The newest report of a phase, and every value reported so far."""

    name: Phase | None = None
    step: int = 0
    steps: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name for people."""
        return "" if self.name is None else PHASE_LABELS.get(self.name, self.name)

    def update(self, report: Progress) -> None:
        """Take in a report. Work inside a phase may count finer steps; those stay when the phase reports its end."""
        done = report.step >= report.steps
        if not done or report.steps > self.steps:
            self.steps = max(report.steps, 1)
        self.step = self.steps if done else report.step
        for name, value in report.values.items():  # before the values: the screen is drawn by another thread
            self.history.setdefault(name, []).append(value)
        self.values = report.values or self.values

    def speed(self) -> str:
        """Images per second, if the phase reports them."""
        rate = self.values.get("images_per_second")
        return "" if rate is None else f"{rate:,.0f} images/s"

    def has_health(self) -> bool:
        """Whether the health watch checks this phase."""
        return any(name.startswith(HEALTH) for name in self.values)

    def losses(self) -> dict[str, str]:
        """Short names of the losses, by full name."""
        return short_names([name for name in self.values if name not in NOT_LOSSES and not name.startswith(HEALTH)])


def short_names(names: list[str]) -> dict[str, str]:
    """``generator.const`` as const; D's only loss as D, several as D.gan, ..."""
    of_discriminator = [name for name in names if name.startswith("discriminator.")]
    short = {name: name.removeprefix("generator.") for name in names}
    for name in of_discriminator:
        short[name] = "D" if len(of_discriminator) == 1 else f"D.{name.removeprefix('discriminator.')}"
    return short
