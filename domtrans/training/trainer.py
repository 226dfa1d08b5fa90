"""The training loop, top to bottom: D learns while g stands still; g learns while D stands still.

Step k is a pure function of the weights before it, the seed and k: which images it sees (``Batches``) and every
random number it draws are derived from (seed, k). A saved state is therefore weights, optimizers and k, nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from domtrans.compute.compile import begin_step, compiled
from domtrans.compute.seeding import reseed
from domtrans.data.batches import derive_seed
from domtrans.data.image_set import to_channels, to_float
from domtrans.errors import DomtransError
from domtrans.evaluation.health import DIVERSITY, spread, surprise
from domtrans.interfaces import Discriminator, Outputs
from domtrans.model.alignment import FeatureAlignment
from domtrans.model.transfer import FrozenEncoder
from domtrans.session import Session
from domtrans.training.domain import Side
from domtrans.training.experiment import Experiment
from domtrans.training.losses import active, means, weighted_sum
from domtrans.training.optim import Average, Optimizer

ROLLBACK_RATE = 0.25
"""What every rollback multiplies the learning rates by."""
TOTAL = "total"
"""The weighted sum of a player's terms, among the figures of a part."""


class Trainer:
    """g and D with their optimizers, somewhere along a run of ``config.steps`` steps."""

    def __init__(self, experiment: Experiment, session: Session) -> None:
        self.experiment, self.config, self.session = experiment, experiment.config, session
        device = session.device
        self.f: FrozenEncoder = experiment.transfer.encoder.to(device).to(memory_format=torch.channels_last)
        self.g: nn.Module = experiment.transfer.generator.to(device).to(memory_format=torch.channels_last)
        self.D: Discriminator = experiment.discriminator.to(device).to(memory_format=torch.channels_last)
        self.run_f, self.run_g, self.run_D = networks = list[nn.Module]([self.f, self.g, self.D])
        """What is called for images to learn from: the networks themselves, or their compiled twins."""
        group = session.group
        for network in (self.g, self.D):
            group.synchronise(network, device)
        for item in (*experiment.generator_losses, *experiment.discriminator_losses):
            item.loss.to(device)  # a loss may hold a network of its own
        self.average = Average(self.g, self.config.ema)
        self.g_optimizer = Optimizer(self.g, self.config.generator_optimizer, self.config.steps, group)
        self.D_optimizer = Optimizer(self.D, self.config.discriminator_optimizer, self.config.steps, group)
        self.source, self.target = experiment.source.to(device), experiment.target.to(device)
        balance = self.config.balance_source
        self.sides = {
            "source": Side("source", self.source, self.f, session, experiment.source_augmentation, balance=balance),
            "target": Side("target", self.target, self.f, session, experiment.target_augmentation),
        }
        of_both = [self.sides[name].measured() for name in ("source", "target")] if experiment.align_features else None
        self.alignment = FeatureAlignment.of(*of_both) if of_both else None
        self.cut(group.part_size(self.config.batch_size, self.config.accumulate))
        self.rng = session.rng("step", 0)
        self.heard = time.perf_counter()
        # Batch norm must not see the three kinds of image in one batch: the mixture's statistics would tell D apart
        # what it should learn from the image itself.
        self.judges_jointly = not any(isinstance(module, _BatchNorm) for module in self.D.modules())
        if self.config.compile:
            if group.size > 1:
                raise DomtransError("train.compile=true is for one process; several train without it")
            self.run_f, self.run_g, self.run_D = compiled(networks, device)
        self.step_number = 0
        self.rollbacks = 0
        """How often the run went back to a save after diverging; every time with a quarter of the learning rates."""
        self.holds_d = False
        """Whether D stands still, because it is winning and the recipe lets the health watch act."""
        self.real_spread = spread(to_float(self.target.some(1000).images)).clamp_min(1e-3) if self.config.health.watch else None

    def step(self) -> dict[str, Tensor]:
        """One step: every turn of both players on fresh batches. Returns unweighted losses by name, on the device."""
        if self.config.compile:
            begin_step()
        config, losses = self.config, dict[str, Tensor]()
        progress = self.step_number / config.steps
        rounds = max(config.discriminator_steps, config.generator_steps)
        sides = (("source", "target"),) if config.updates == "joint" else (("source",), ("target",))
        apart = () if self.session.group.leads else (self.session.group.rank,)  # every process draws for other images
        self.rng = self.session.rng("step", self.step_number, *apart)
        reseed(derive_seed(self.session.seed, "layers", self.step_number, *apart))  # for dropout in anyone's layers
        for optimizer in (self.g_optimizer, self.D_optimizer):
            optimizer.schedule(self.step_number, ROLLBACK_RATE**self.rollbacks)
        for turn in range(rounds):
            for side in sides:
                first = (self.step_number * rounds + turn) * config.accumulate
                with self.session.autocast():
                    parts = [self.look(side, first + part) for part in range(config.accumulate)]
                if len(parts) == 1:  # one run of g serves both players
                    parts = [self.generate(parts[0], learning=turn < config.generator_steps)]
                if turn < config.discriminator_steps:
                    losses |= self.discriminator_turn(parts, progress)
                if turn < config.generator_steps:
                    losses |= self.generator_turn(parts, progress)
        self.step_number += 1
        return dict(zip(losses, self.session.group.mean(list(losses.values())), strict=True))

    def cut(self, size: int) -> None:
        """From here on, take parts of ``size`` images of each domain; a batch is ``accumulate`` parts of every process."""
        self.part_size = size
        for side in self.sides.values():
            side.cut(size)

    def look(self, sides: Iterable[str], k: int) -> Outputs:
        """Part ``k`` of the domains in ``sides``: images x and features f(x)."""
        seen = Outputs(classify=self.f.classify)
        for name in sides:
            index, images, features = self.sides[name].look(k, self.rng)
            found: dict[str, Any] = {name: images, f"{name}_features": features}
            if name == "source" and self.source.labels is not None:
                found["source_labels"] = self.source.labels[index]
            seen = replace(seen, **found)
        return seen

    def generate(self, seen: Outputs, *, learning: bool) -> Outputs:
        """G(x) = g(f(x)) of both domains in one pass, unless it is there; with a graph if g is to learn from it."""
        if seen.source_fake is not None or seen.target_fake is not None:
            return seen
        self.g.train()
        with torch.set_grad_enabled(learning), self.session.autocast():
            sources = self.read_by_g("source", seen.source, seen.source_features)
            targets = self.read_by_g("target", seen.target, seen.target_features)
            fakes = in_one_pass(self.run_g, {"source_fake": sources, "target_fake": targets})
        return replace(seen, **fakes)

    def read_by_g(self, name: str, images: Tensor | None, features: Tensor | None) -> Tensor | None:
        """What g gets of images x of a domain: f(x), the target's aligned if wanted, or x itself where G does not contain f."""
        if images is not None and self.experiment.transfer.generator.reads_images:
            return to_channels(images, 3)
        return self.alignment(features) if self.alignment and name == "target" and features is not None else features

    def discriminator_turn(self, parts: Sequence[Outputs], progress: float) -> dict[str, Tensor]:
        """D learns to tell G(source), G(target) and real target images apart; g stands still."""
        terms = active(self.experiment.discriminator_losses, progress)
        if not terms:
            return {}
        self.D.train().requires_grad_(True)
        self.D_optimizer.zero_grad()
        heard = []
        for part in parts:
            seen = self.generate(part, learning=False)
            still = replace(seen, source_fake=detached(seen.source_fake), target_fake=detached(seen.target_fake))
            with self.session.autocast():
                judged = self.judge(still, "source_fake", "target_fake", "target")
                total, losses = weighted_sum(terms, judged, "discriminator")
            if total is None:
                return {}
            (total / len(parts)).backward()
            heard.append({TOTAL: total.detach()} | losses | (surprise(judged) if self.config.health.watch else {}))
        losses = means(heard)
        sum_of_terms, floor = losses.pop(TOTAL), self.config.discriminator_floor
        if not self.holds_d and (not floor or float(self.session.group.mean([sum_of_terms])[0]) >= floor):
            self.D_optimizer.step()
        return losses

    def generator_turn(self, parts: Sequence[Outputs], progress: float) -> dict[str, Tensor]:
        """g learns to please D while keeping f's features; D stands still, and spends nothing on its own gradients."""
        terms = active(self.experiment.generator_losses, progress)
        reads = frozenset().union(*(term.loss.reads for term in terms))
        # A D that stands still: no weight gradients, no power iteration, no dropout. With batch norm it keeps to the
        # batch's own statistics all the same, since running ones lag behind the images that g is drawing now.
        self.D.train(not self.judges_jointly).requires_grad_(False)
        self.g_optimizer.zero_grad()
        heard, learnt = [], False
        for part in parts:
            seen = self.generate(part, learning=True)
            varied = self._diversity(seen)
            with self.session.autocast():
                if reads & {"source_fake_logits", "target_fake_logits"}:
                    seen = self.judge(seen, "source_fake", "target_fake")
                if reads & {"source_fake_features", "target_fake_features"}:
                    seen = self.encode_fakes(seen, reads)
                total, losses = weighted_sum(terms, seen, "generator")
            if total is not None:
                (total / len(parts)).backward()
                learnt = True
            heard.append(varied | losses)
        if learnt:
            self.g_optimizer.step()
            self.average.update(self.g, self.step_number)
        return means(heard)

    def judge(self, seen: Outputs, *names: str) -> Outputs:
        """D's logits of the named images that are there, in one pass where D's layers allow it."""
        view = self.experiment.discriminator_view
        there = {f"{name}_logits": getattr(seen, name) for name in names if getattr(seen, name) is not None}
        images = {name: view(x, self.rng) if view else x for name, x in there.items()}
        if not self.judges_jointly:
            apart: dict[str, Any] = {name: self.run_D(x, *self._told(seen, name)).float() for name, x in images.items()}
            return replace(seen, **apart)
        told = self._told(seen, *images)
        return replace(seen, **in_one_pass(lambda x: self.run_D(x, *told), images))

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

    def _diversity(self, seen: Outputs) -> dict[str, Tensor]:
        """How varied g's images are, by how varied real ones are, where it is watched."""
        if self.real_spread is None or seen.source_fake is None:
            return {}
        return {DIVERSITY: spread(seen.source_fake) / self.real_spread}

    def _told(self, seen: Outputs, *names: str) -> tuple[Tensor, ...]:
        """What a D that reads classes is told of images: what f sees in the x that each is or was made from."""
        if not self.D.reads_classes or not names:
            return ()
        origins = [seen.target_features if name.startswith("target") else seen.source_features for name in names]
        return (torch.cat([self.f.opinion(features) for features in origins if features is not None]),)

    def _viewed(self, images: Tensor) -> Tensor:
        images = to_channels(images, self.f.encoder.channels)
        return self.run_f(self.experiment.view(images, self.rng) if self.experiment.view else images)

    def reading(self) -> dict[str, float]:
        """How reading went since this was last asked; nothing where both sets are in memory.

        ``data_wait``: the share of the time that the trainer stood waiting for images. ``damaged``: pictures that could not
        be read, since the run was begun or taken up.
        """
        if self.source.in_memory and self.target.in_memory:
            return {}
        before, self.heard = self.heard, time.perf_counter()
        waited = sum(side.feed.waited() for side in self.sides.values())
        return {
            "data_wait": round(waited / max(self.heard - before, 1e-9), 4),
            "damaged": self.source.damaged + self.target.damaged,
        }


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


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
