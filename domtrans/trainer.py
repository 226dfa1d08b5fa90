"""The training loop, top to bottom: D learns while g stands still; g learns while D stands still.

Step k is a pure function of the weights before it, the seed and k: which images it sees (``Batches``) and every
random number it draws are derived from (seed, k). A saved state is therefore weights, optimizers and k, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from domtrans.batches import Batches, balanced, derive_seed
from domtrans.errors import DomtransError
from domtrans.health import DIVERSITY, spread, surprise
from domtrans.images import ImageSet, to_channels, to_float
from domtrans.interfaces import Augmentation, Discriminator, Loss, Outputs
from domtrans.model import FrozenEncoder, Transfer
from domtrans.optim import Average, Optimizer
from domtrans.recipe import Term, TrainConfig
from domtrans.seeding import reseed
from domtrans.session import Session

ROLLBACK_RATE = 0.25
"""What every rollback multiplies the learning rates by."""


@dataclass(frozen=True)
class WeightedLoss:
    """A loss built from a recipe's term, under the name it is logged by."""

    name: str
    loss: Loss
    term: Term


@dataclass(frozen=True)
class Experiment:
    """All that a recipe names, built: the players, what they minimise, and what they see."""

    config: TrainConfig
    source: ImageSet
    target: ImageSet
    transfer: Transfer
    discriminator: Discriminator
    generator_losses: tuple[WeightedLoss, ...]
    discriminator_losses: tuple[WeightedLoss, ...]
    source_augmentation: Augmentation | None = None
    target_augmentation: Augmentation | None = None
    view: Augmentation | None = None
    discriminator_view: Augmentation | None = None


class Trainer:
    """g and D with their optimizers, somewhere along a run of ``config.steps`` steps."""

    def __init__(self, experiment: Experiment, session: Session) -> None:
        self.experiment, self.config, self.session = experiment, experiment.config, session
        device = session.device
        self.f: FrozenEncoder = experiment.transfer.encoder.to(device).to(memory_format=torch.channels_last)
        self.g: nn.Module = experiment.transfer.generator.to(device).to(memory_format=torch.channels_last)
        self.D: nn.Module = experiment.discriminator.to(device).to(memory_format=torch.channels_last)
        for item in (*experiment.generator_losses, *experiment.discriminator_losses):
            item.loss.to(device)  # a loss may hold a network of its own
        self.average = Average(self.g, self.config.ema)
        self.g_optimizer = Optimizer(self.g, self.config.generator_optimizer, self.config.steps)
        self.D_optimizer = Optimizer(self.D, self.config.discriminator_optimizer, self.config.steps)
        self.source, self.target = experiment.source.to(device), experiment.target.to(device)
        # f never changes, so the features of images that are not augmented are computed once.
        self.source_features = None if experiment.source_augmentation else self.f.encode(self.source)
        self.target_features = None if experiment.target_augmentation else self.f.encode(self.target)
        self.source_batches = self._batches("source", self.source, self._source_weights())
        self.target_batches = self._batches("target", self.target)
        # Batch norm must not see the three kinds of image in one batch: the mixture's statistics would tell D apart
        # what it should learn from the image itself.
        self.judges_jointly = not any(isinstance(module, _BatchNorm) for module in self.D.modules())
        self.step_number = 0
        self.rollbacks = 0
        """How often the run went back to a save after diverging; every time with a quarter of the learning rates."""
        self.holds_d = False
        """Whether D stands still, because it is winning and the recipe lets the health watch act."""
        self.real_spread = spread(to_float(self.target.some(1000).images)).clamp_min(1e-3) if self.config.health.watch else None

    def step(self) -> dict[str, Tensor]:
        """One step: every turn of both players on fresh batches. Returns unweighted losses by name, on the device."""
        config, losses = self.config, dict[str, Tensor]()
        progress = self.step_number / config.steps
        rounds = max(config.discriminator_steps, config.generator_steps)
        sides = (("source", "target"),) if config.updates == "joint" else (("source",), ("target",))
        self.rng = self.session.rng("step", self.step_number)
        reseed(derive_seed(self.session.seed, "layers", self.step_number))  # for dropout in anyone's layers
        for optimizer in (self.g_optimizer, self.D_optimizer):
            optimizer.schedule(self.step_number, ROLLBACK_RATE**self.rollbacks)
        for turn in range(rounds):
            for side in sides:
                with self.session.autocast():
                    seen = self.look(side, self.step_number * rounds + turn)
                    seen = self.generate(seen, learning=turn < config.generator_steps)
                if self.real_spread is not None and seen.source_fake is not None:
                    losses[DIVERSITY] = spread(seen.source_fake) / self.real_spread
                if turn < config.discriminator_steps:
                    losses |= self.discriminator_turn(seen, progress)
                if turn < config.generator_steps:
                    losses |= self.generator_turn(seen, progress)
        self.step_number += 1
        return losses

    def look(self, sides: Iterable[str], k: int) -> Outputs:
        """Batch ``k`` of the domains in ``sides``: images x and features f(x)."""
        seen = Outputs(classify=self.f.classify)
        if "source" in sides:
            index = self.source_batches[k].to(self.source.images.device)
            labels = None if self.source.labels is None else self.source.labels[index]
            images, features = self._pick(self.source, self.source_features, self.experiment.source_augmentation, index)
            seen = replace(seen, source=images, source_features=features, source_labels=labels)
        if "target" in sides:
            index = self.target_batches[k].to(self.target.images.device)
            images, features = self._pick(self.target, self.target_features, self.experiment.target_augmentation, index)
            seen = replace(seen, target=images, target_features=features)
        return seen

    def generate(self, seen: Outputs, *, learning: bool) -> Outputs:
        """G(x) = g(f(x)) of both domains in one pass; with a graph for g's gradient if g is to learn from it."""
        self.g.train()
        with torch.set_grad_enabled(learning):
            fakes = in_one_pass(self.g, {"source_fake": seen.source_features, "target_fake": seen.target_features})
        return replace(seen, **fakes)

    def discriminator_turn(self, seen: Outputs, progress: float) -> dict[str, Tensor]:
        """D learns to tell G(source), G(target) and real target images apart; g stands still."""
        terms = active(self.experiment.discriminator_losses, progress)
        if not terms:
            return {}
        self.D.train().requires_grad_(True)
        still = replace(seen, source_fake=detached(seen.source_fake), target_fake=detached(seen.target_fake))
        with self.session.autocast():
            judged = self.judge(still, "source_fake", "target_fake", "target")
            total, losses = weighted_sum(terms, judged, "discriminator")
        if total is None:
            return {}
        self.D_optimizer.zero_grad()
        total.backward()
        floor = self.config.discriminator_floor
        if not self.holds_d and (not floor or float(total.detach()) >= floor):
            self.D_optimizer.step()
        return losses | (surprise(judged) if self.config.health.watch else {})

    def generator_turn(self, seen: Outputs, progress: float) -> dict[str, Tensor]:
        """g learns to please D while keeping f's features; D stands still, and spends nothing on its own gradients."""
        terms = active(self.experiment.generator_losses, progress)
        reads = frozenset().union(*(term.loss.reads for term in terms))
        # A D that stands still: no weight gradients, no power iteration, no dropout. With batch norm it keeps to the
        # batch's own statistics all the same, since running ones lag behind the images that g is drawing now.
        self.D.train(not self.judges_jointly).requires_grad_(False)
        with self.session.autocast():
            if reads & {"source_fake_logits", "target_fake_logits"}:
                seen = self.judge(seen, "source_fake", "target_fake")
            if reads & {"source_fake_features", "target_fake_features"}:
                seen = self.encode_fakes(seen, reads)
            total, losses = weighted_sum(terms, seen, "generator")
        if total is None:
            return {}
        self.g_optimizer.zero_grad()
        total.backward()
        self.g_optimizer.step()
        self.average.update(self.g, self.step_number)
        return losses

    def judge(self, seen: Outputs, *names: str) -> Outputs:
        """D's logits of the named images that are there, in one pass where D's layers allow it."""
        view = self.experiment.discriminator_view
        there = {f"{name}_logits": getattr(seen, name) for name in names if getattr(seen, name) is not None}
        images = {name: view(x, self.rng) if view else x for name, x in there.items()}
        if self.judges_jointly:
            return replace(seen, **in_one_pass(self.D, images))
        apart: dict[str, Any] = {name: self.D(x).float() for name, x in images.items()}
        return replace(seen, **apart)

    def encode_fakes(self, seen: Outputs, reads: frozenset[str]) -> Outputs:
        """f(view(G(x))) of the fakes that a loss reads, in one pass; the gradient runs through f and the view to g."""
        images = {name: getattr(seen, name.removesuffix("_features")) for name in FAKE_FEATURES if name in reads}
        return replace(seen, **in_one_pass(self._viewed, images))

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, as named tensors."""
        return {
            "step": torch.tensor(self.step_number),
            "rollbacks": torch.tensor(self.rollbacks),
            **{f"generator.{name}": tensor for name, tensor in self.g.state_dict().items()},
            **{f"average.{name}": tensor for name, tensor in self.average.module.state_dict().items()},
            **{f"discriminator.{name}": tensor for name, tensor in self.D.state_dict().items()},
            **{f"generator_optimizer.{name}": tensor for name, tensor in self.g_optimizer.state().items()},
            **{f"discriminator_optimizer.{name}": tensor for name, tensor in self.D_optimizer.state().items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up a saved state; raises DomtransError if it does not fit the networks of this recipe."""
        try:
            self.g.load_state_dict(under(state, "generator."))
            self.average.module.load_state_dict(under(state, "average."))
            self.D.load_state_dict(under(state, "discriminator."))
            self.g_optimizer.load_state(under(state, "generator_optimizer."))
            self.D_optimizer.load_state(under(state, "discriminator_optimizer."))
            self.step_number = int(state["step"])
            self.rollbacks = int(state.get("rollbacks", torch.tensor(0)))
        except (RuntimeError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DomtransError(f"the saved training state does not fit this recipe's networks: {reason}") from None

    def _viewed(self, images: Tensor) -> Tensor:
        images = to_channels(images, self.f.encoder.channels)
        return self.f(self.experiment.view(images, self.rng) if self.experiment.view else images)

    def _pick(
        self, images: ImageSet, features: Tensor | None, augmentation: Augmentation | None, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch = to_float(images.images[index])
        if augmentation is not None:
            batch = augmentation(batch, self.rng)
        if features is not None:
            return batch, features[index]
        with torch.no_grad():
            return batch, self.f(batch)

    def _source_weights(self) -> Tensor | None:
        if not self.config.balance_source:
            return None
        features = self.f.encode(self.source) if self.source_features is None else self.source_features
        return balanced(self.f.classify(features).argmax(1).cpu())

    def _batches(self, name: str, images: ImageSet, weights: Tensor | None = None) -> Batches:
        return Batches(len(images), self.config.batch_size, derive_seed(self.session.seed, name), weights)


FAKE_FEATURES = ("source_fake_features", "target_fake_features")


def in_one_pass(network: Callable[[Tensor], Tensor], inputs: Mapping[str, Tensor | None]) -> dict[str, Any]:
    """Run a network over several batches at once: ``{name: network(batch)}`` in float32, without what is None."""
    there = {name: batch for name, batch in inputs.items() if batch is not None}
    if not there:
        return {}
    outputs = network(torch.cat(list(there.values()))).float()
    return dict(zip(there, outputs.split([len(batch) for batch in there.values()]), strict=True))


def detached(images: Tensor | None) -> Tensor | None:
    """The same images without the graph behind them."""
    return None if images is None else images.detach()


def active(losses: Iterable[WeightedLoss], progress: float) -> list[WeightedLoss]:
    """The losses that count at this share of the run."""
    return [loss for loss in losses if loss.term.active(progress)]


def weighted_sum(terms: Iterable[WeightedLoss], seen: Outputs, player: str) -> tuple[Tensor | None, dict[str, Tensor]]:
    """What a player minimises, and its terms unweighted, for the log. A term whose fields are not there is left out."""
    total, losses = None, {}
    for item in terms:
        if all(getattr(seen, name) is None for name in item.loss.reads - {"classify"}):
            continue  # a term of the other domain, in separate updates
        value = item.loss(seen if "source_labels" in item.loss.reads else replace(seen, source_labels=None))
        total = item.term.weight * value + (0 if total is None else total)
        losses[f"{player}.{item.name}"] = value.detach()
    return total, losses


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
