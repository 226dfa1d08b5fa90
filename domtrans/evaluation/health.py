"""Health checks of a training, computed from the lines of its log. docs/health.md lists them.

Two quantities are logged for them beside the losses: the normalised loss of D, and the diversity of G(x). Both have a level
that means the same for every recipe, and neither influences training. The state of the watch is a function of the lines so
far, so a resumed run, which reads its log again, has the same state as the stopped one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from domtrans.compute.seeding import seeded
from domtrans.interfaces import Discriminator, Loss, Outputs
from domtrans.recipe.schema import HealthConfig

D_LOSS, DIVERSITY = "health.surprise", "health.diversity"
"""Keys of the two quantities in the log."""

# All thresholds were set on runs of digits-dtn. In good runs the normalised loss of D is 0.7 to 1.1, and the diversity 0.75
# to 0.97.

D_WINS = 0.1
"""D wins below this normalised loss. In the run of the study (figure 6) that failed in this way it was near zero."""
D_RECOVERS = 0.3
"""D no longer wins above this. It is well above ``D_WINS``, so that D is not held and released at every step."""
D_LOST = 0.98
"""D is lost above this: 1 is chance, and a good run stays above 0.98 for a few lines only."""
G_COLLAPSED = 0.2
"""g has collapsed below this diversity, a quarter of that of good runs."""
RISE_FACTOR = 2.0
"""A const loss rises if it is this many times its lowest mean. In good runs noise stays below twice that."""
IGNORED_SHARE = 0.1
"""A const loss below this share of its chance level may rise: G(x) still has nearly all that f reads in x."""
HIGH_SHARE = 0.5
"""A const loss is high above this share of its chance level: G(x) has less than half of what f reads in x."""
PLATEAU_SHARE = 0.9
"""A const loss makes no progress if it is above this share of its mean three windows before."""
CONSTANT_DEVIATION = 0.05
"""A standardised feature with a lower standard deviation counts as constant."""
SATURATED_SHARE = 0.9
"""f is saturated if more than this share of its features is constant. ReLU features often are: 53 of 128 (41 %) in the best
f for digits."""

HISTORY_WINDOWS = 5
"""Windows of values that are kept; the plateau needs five."""


@torch.no_grad()
def normalised_d_loss(outputs: Outputs, real: Sequence[int] = Discriminator.real_logits) -> dict[str, Tensor]:
    """The cross-entropy of D as a classifier of real and generated images, over that of a D at chance.

    1 is chance, 0 certainty. Which domain a generated image comes from does not matter: a D that is certain of what is real
    has won, because g learns from nothing else. D classifies a real and a generated image of the same batch together, and its
    decision boundary is halfway between their log odds. So only differences count: some objectives, like relativistic pairs,
    train no level of the log odds. And the value is a mean over pairs, which several processes can average.

    Args:
        outputs: The logits of D [B, K] for real and generated images.
        real: The logits that mean "real"; all others mean "generated".

    Returns:
        A scalar under its key in the log; empty if D got only real or only generated images.
    """
    fakes = [logits for logits in (outputs.source_fake_logits, outputs.target_fake_logits) if logits is not None]
    if outputs.target_logits is None or not fakes:
        return {}
    of_real = _log_odds(outputs.target_logits, real)
    # Both images of a pair are as far from the boundary: half of their difference.
    losses = [F.softplus((_log_odds(of_fakes, real) - of_real) / 2).mean() for of_fakes in fakes]
    return {D_LOSS: torch.stack(losses).mean() / math.log(2)}


def _log_odds(logits: Tensor, real: Sequence[int]) -> Tensor:
    """The log odds [B] that images are real."""
    logits = logits.detach().float()
    generated = [kind for kind in range(logits.shape[1]) if kind not in real]
    # A list as an index would make a step wait for the GPU.
    of_real, of_generated = (torch.stack([logits[:, kind] for kind in kinds], 1).logsumexp(1) for kinds in (real, generated))
    return of_real - of_generated


@torch.no_grad()
def batch_deviation(images: Tensor) -> Tensor:
    """The standard deviation of images [B, C, H, W] over the batch, averaged over pixels: a scalar."""
    images = images.detach().float()
    variance = (images - images.mean(0)).square().sum(0) / (len(images) - 1)  # three times as fast as torch.var on a CPU
    return variance.sqrt().mean()


def const_chance_levels(losses: Mapping[str, Loss], features: Tensor, classify: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """The value of each const loss if G(x) has nothing to do with x: for the features of another image.

    A const loss is one that reads features of generated images and no images.

    Args:
        losses: The losses of g by name.
        features: Features [N, F], or maps [N, C, h, w], of source images.
        classify: f's head.

    Returns:
        The level of every const loss by name. Training and random state are left unchanged.
    """
    levels: dict[str, float] = {}
    with seeded(0), torch.no_grad():
        shuffled = features[torch.randperm(len(features)).to(features.device)]
        outputs = Outputs(
            source_features=features,
            source_fake_features=shuffled,
            target_features=features,
            target_fake_features=shuffled,
            classify=classify,
            align=lambda features: features,  # these features are those of source images already
        )
        available = {name for name, value in vars(outputs).items() if value is not None}
        for name, loss in losses.items():
            if loss.reads <= available and loss.reads & {"source_fake_features", "target_fake_features"}:
                with suppress(Exception):  # a loss of a plugin may need more than this; the health watch stops no run
                    levels[name] = float(copy.deepcopy(loss)(outputs))
    return {name: value for name, value in levels.items() if math.isfinite(value) and value > 0}


@torch.no_grad()
def saturation_alarm(features: Tensor) -> dict[str, str]:
    """An alarm if nearly all standardised features of f, [N, F] or maps, are constant over the images; else empty."""
    deviation = features.std(0)
    constant = int((deviation < CONSTANT_DEVIATION).sum())
    if constant <= SATURATED_SHARE * deviation.numel():
        return {}
    return {
        "f-saturated": f"f is saturated: {constant} of its {deviation.numel()} features are the same for every source image; "
        "try a lower fit.lr, more fit.steps, or another encoder"
    }


class HealthWatch:
    """Raises alarms from the lines of the log.

    An alarm needs its condition in every line of a window (``train.health.window``), and at least two windows of lines. It
    starts once, and again only after its condition has ended.

    Args:
        config: Whether to watch, the window, and whether to act.
        chance_levels: The result of ``const_chance_levels``.
    """

    def __init__(self, config: HealthConfig, chance_levels: Mapping[str, float] | None = None) -> None:
        self.config, self.chance_levels = config, chance_levels or {}
        self.history: dict[str, list[float]] = {}
        self.lowest: dict[str, float] = {}
        """The lowest mean over a window of each const loss."""
        self.logged: set[str] = set()
        self.active: set[str] = set()
        self.hold_discriminator = False
        """Whether the optimizer of D should pause; only with ``train.health.act``."""

    def update(self, record: Mapping[str, Any]) -> dict[str, str]:
        """Read the next line of the log.

        Args:
            record: The line.

        Returns:
            The alarms that start with it: ``{"d-wins": "D wins: ..."}``, each a sentence with what to try.
        """
        values = {name: float(value) for name, value in record.items() if isinstance(value, int | float) and "." in name}
        if not values or not self.config.watch:
            return {}
        logged = {name for name in values if not name.startswith("validation.")}
        if logged != self.logged:  # a loss term started or ended, so earlier values are no reference
            self.logged, self.history, self.lowest = logged, {}, {}
        for name, value in values.items():
            self.history[name] = [*self.history.get(name, []), value][-HISTORY_WINDOWS * self.config.window :]
        alarms = self._check_discriminator() | self._check_generator()
        for name in self.chance_levels:
            alarms |= self._check_const(name)
        started = {name: sentence for name, sentence in alarms.items() if name not in self.active}
        self.active = set(alarms)
        if self.config.act and D_LOSS in values:
            self.hold_discriminator = "d-wins" in alarms or (self.hold_discriminator and values[D_LOSS] < D_RECOVERS)
        return started

    def _window(self, name: str, back: int = 0) -> list[float]:
        """The values of the last window, or of the one ``back`` windows before; empty before there is one more than that."""
        values, width = self.history.get(name, []), self.config.window
        if len(values) < (back + 2) * width:
            return []
        return values[len(values) - (back + 1) * width : len(values) - back * width]

    def _check_discriminator(self) -> dict[str, str]:
        values = self._window(D_LOSS)
        if values and max(values) < D_WINS:
            paused = "its optimizer pauses until D recovers; if D wins again, try"
            remedy = paused if self.config.act else "try train.health.act=true,"
            return {
                "d-wins": f"D wins: its normalised loss is {values[-1]:.2g} (1 is chance), so g learns little from it; "
                f"{remedy} a lower train.discriminator_optimizer.lr, or train.discriminator_floor=1"
            }
        if values and min(values) > D_LOST:
            return {
                "d-lost": "D is lost: it separates real from generated images no better than chance, so g learns nothing from "
                "it; try a higher train.discriminator_optimizer.lr or train.discriminator_steps=2"
            }
        return {}

    def _check_generator(self) -> dict[str, str]:
        values = self._window(DIVERSITY)
        if values and max(values) < G_COLLAPSED:
            return {
                "g-collapsed": f"g has collapsed: its images vary {100 * values[-1]:.0f} % as much as real ones; try a lower "
                "train.generator_optimizer.lr, or a higher weight of the loss that keeps images apart "
                "(generator_losses.const.weight)"
            }
        return {}

    def _check_const(self, name: str) -> dict[str, str]:
        values, chance = self._window(name), self.chance_levels[name]
        if not values:
            return {}
        term, now = name.removeprefix("generator."), sum(values) / len(values)
        lowest = self.lowest[name] = min(self.lowest.get(name, math.inf), now)
        if min(values) > RISE_FACTOR * lowest and now > IGNORED_SHARE * chance:
            return {
                f"{term}-rising": f"{term} rises: it is {now:.3g} and was {lowest:.3g}, so g gives up what f reads in x to "
                f"satisfy D; try a higher generator_losses.{term}.weight or a lower one for the adversarial loss"
            }
        before = self._window(name, back=3)
        if before and now > HIGH_SHARE * chance and now > PLATEAU_SHARE * sum(before) / len(before):
            return {
                f"{term}-high": f"{term} stays at {now:.3g}, and unrelated images give {chance:.3g}; try a higher "
                f"generator_losses.{term}.weight, another distance or view, or an f that reads target images better"
            }
        return {}
