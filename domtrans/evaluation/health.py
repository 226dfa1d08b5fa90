"""What goes wrong in a training of this kind, told from the lines of its log. docs/health.md has the thresholds at a glance.

Two figures are logged for it, besides the losses: how surprised D is, and how varied g's images are. Both are relative
to a level that means the same for every recipe, and neither touches what is learnt. A detector is a pure function of
the lines so far, so that a resumed run, which reads its log again, knows what the stopped one knew.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from domtrans.compute.seeding import seeded
from domtrans.interfaces import Discriminator, Loss, Outputs
from domtrans.recipe.schema import HealthConfig

SURPRISE, DIVERSITY = "health.surprise", "health.diversity"
"""Names of the two figures in the log."""

WINNING, RECOVERED, LOST = 0.1, 0.3, 0.98
"""Of D's surprise: it wins below the first until it is above the second, and is lost above the third."""
COLLAPSED = 0.2
"""Of g's diversity."""
RISING, HIGH = 2.0, 0.5
"""A const term rises when it is twice its best, and is high above half of what unrelated images give."""
WORTH_A_WORD = 0.1
"""Below this share of what unrelated images give, a const term may rise as it likes."""
STILL = 0.9
"""A const term that is above this share of what it was three windows ago makes no progress."""
CONSTANT, TOO_MANY = 0.05, 0.9
"""A standardised feature that varies less than the first is constant; f is saturated when more than this share of them
is. ReLU features may well be: the best f of the digits has 53 such ones of 128."""

AT_CHANCE = (math.log(3) + math.log(1.5)) / 2
"""Of a D that gives every kind a third: -log 1/3 for a real image, -log 2/3 for a made one."""


@torch.no_grad()
def surprise(judged: Outputs) -> dict[str, Tensor]:
    """How far off D is in telling real from made: 1 at chance, 0 at certainty; nothing where it saw only one of them.

    Which domain a made image comes from does not matter here: a D that is certain of what is real has won, for g learns
    from nothing else.
    """
    made = [logits for logits in (judged.source_fake_logits, judged.target_fake_logits) if logits is not None]
    if judged.target_logits is None or not made:
        return {}
    kinds = [Discriminator.FAKE_SOURCE, Discriminator.FAKE_TARGET]
    of_real = -judged.target_logits.detach().float().log_softmax(1)[:, Discriminator.REAL_TARGET].mean()
    of_made = -torch.cat(made).detach().float().log_softmax(1)[:, kinds].logsumexp(1).mean()
    return {SURPRISE: (of_real + of_made) / 2 / AT_CHANCE}


@torch.no_grad()
def spread(images: Tensor) -> Tensor:
    """How far images [B, C, H, W] differ from one another: the standard deviation over the batch, averaged over pixels."""
    return images.detach().float().std(0).mean()


def const_chances(losses: Mapping[str, Loss], features: Tensor, classify: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """What each const term says of images that have nothing to do with x; ``features``: of some source images.

    A const term is a loss that reads features of generated images, and no images. Nothing of the training is touched.
    """
    found: dict[str, float] = {}
    with seeded(0), torch.no_grad():
        others = features[torch.randperm(len(features)).to(features.device)]
        seen = Outputs(
            source_features=features,
            source_fake_features=others,
            target_features=features,
            target_fake_features=others,
            classify=classify,
        )
        given = {name for name, value in vars(seen).items() if value is not None}
        for name, loss in losses.items():
            if loss.reads <= given and loss.reads & {"source_fake_features", "target_fake_features"}:
                with suppress(Exception):  # a stranger's loss may want what a training has; watching stops no run
                    found[name] = float(copy.deepcopy(loss)(seen))
    return {name: value for name, value in found.items() if math.isfinite(value) and value > 0}


@torch.no_grad()
def saturation(features: Tensor) -> dict[str, str]:
    """An alarm if most of f's standardised features [N, F] are the same for every image."""
    constant = int((features.std(0) < CONSTANT).sum())
    if constant <= TOO_MANY * features.shape[1]:
        return {}
    return {
        "f-saturated": f"f is saturated: {constant} of its {features.shape[1]} features are the same for every source image; "
        "try a lower fit.lr, more fit.steps, or another encoder"
    }


class Watch:
    """The detectors. ``see`` takes the lines of the log, one after another, and gives the alarms that begin with each."""

    def __init__(self, config: HealthConfig, chances: Mapping[str, float] | None = None) -> None:
        self.config, self.chances = config, chances or {}
        self.history: dict[str, list[float]] = {}
        self.best: dict[str, float] = {}
        self.terms: set[str] = set()
        self.sounding: set[str] = set()
        self.holds_d = False
        """Whether D should stand still; only where the recipe lets the watch act."""

    def see(self, record: Mapping[str, Any]) -> dict[str, str]:
        """Alarms that begin with this line: ``{"d-wins": "D wins: ..."}``, each a plain sentence with what to try."""
        figures = {name: float(value) for name, value in record.items() if isinstance(value, int | float) and "." in name}
        if not figures or not self.config.watch:
            return {}
        terms = {name for name in figures if not name.startswith("validation.")}
        if terms != self.terms:  # a term began or ended: what was normal is no more
            self.terms, self.history, self.best = terms, {}, {}
        for name, value in figures.items():
            self.history[name] = [*self.history.get(name, []), value][-5 * self.config.window :]
        found = self._of_d() | self._of_g()
        for name in self.chances:
            found |= self._of_const(name)
        begun = {name: sentence for name, sentence in found.items() if name not in self.sounding}
        self.sounding = set(found)
        if self.config.act and SURPRISE in figures:
            self.holds_d = "d-wins" in found or (self.holds_d and figures[SURPRISE] < RECOVERED)
        return begun

    def _window(self, name: str, back: int = 0) -> list[float]:
        """The last lines' values once there are enough to have settled, or nothing; ``back``: windows ago."""
        values, width = self.history.get(name, []), self.config.window
        if len(values) < (back + 2) * width:
            return []
        return values[len(values) - (back + 1) * width : len(values) - back * width]

    def _of_d(self) -> dict[str, str]:
        values = self._window(SURPRISE)
        if values and max(values) < WINNING:
            return {
                "d-wins": f"D wins: its surprise is {values[-1]:.2g} where 1 is chance, and g learns little from it; try "
                "train.health.act=true, a lower train.discriminator_optimizer.lr, or train.discriminator_floor=1"
            }
        if values and min(values) > LOST:
            return {
                "d-lost": "D is lost: it tells real from made no better than chance, and g learns nothing from it; try a "
                "higher train.discriminator_optimizer.lr or train.discriminator_steps=2"
            }
        return {}

    def _of_g(self) -> dict[str, str]:
        values = self._window(DIVERSITY)
        if values and max(values) < COLLAPSED:
            return {
                "g-collapsed": f"g has collapsed: its images vary {100 * values[-1]:.0f} % as much as real ones; try a lower "
                "train.generator_optimizer.lr, or more weight on what keeps images apart (generator_losses.const.weight)"
            }
        return {}

    def _of_const(self, name: str) -> dict[str, str]:
        values, chance = self._window(name), self.chances[name]
        if not values:
            return {}
        term, now = name.removeprefix("generator."), sum(values) / len(values)
        best = self.best[name] = min(self.best.get(name, math.inf), now)
        if min(values) > RISING * best and now > WORTH_A_WORD * chance:
            return {
                f"{term}-rising": f"{term} rises: it is {now:.3g} and was {best:.3g}; g gives up what f sees to please D; try "
                f"a higher generator_losses.{term}.weight or a lower one for the adversarial term"
            }
        before = self._window(name, back=3)
        if before and now > HIGH * chance and now > STILL * sum(before) / len(before):
            return {
                f"{term}-high": f"{term} stays at {now:.3g}, where images that have nothing to do with x give {chance:.3g}; "
                f"try a higher generator_losses.{term}.weight, another distance or view, or an f that sees target images better"
            }
        return {}
