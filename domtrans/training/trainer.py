"""One training step: D learns while g is fixed, then g learns while D is fixed.

Step k is a pure function of the weights before it, the seed and k: the images that it draws (``Batches``) and its random
numbers are derived from (seed, k). A saved state is therefore weights, optimizer moments and k, and no random state.

Where to change things: the order of updates is ``updates.py``; a regulariser is a ``Loss`` in a recipe; a quantity to log
is a method of ``monitor.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from domtrans.compute.compile import begin_step, compile_networks
from domtrans.compute.seeding import reseed
from domtrans.data.batches import derive_seed
from domtrans.data.image_set import to_channels
from domtrans.errors import DomtransError
from domtrans.interfaces import PARAMETER_FIELDS, Discriminator, Outputs
from domtrans.model.alignment import FeatureAlignment
from domtrans.model.transfer import FrozenEncoder
from domtrans.session import Session
from domtrans.training.captured import CapturedUpdates
from domtrans.training.domain import TrainingDomain
from domtrans.training.experiment import Experiment
from domtrans.training.losses import active, fields_read, mean_over_micro_batches, weighted_sum
from domtrans.training.monitor import Monitor
from domtrans.training.observers import Observers, only_logits
from domtrans.training.optim import ExponentialMovingAverage, Optimizer
from domtrans.training.updates import DOMAINS, Update, turns_per_step, updates_per_step

ROLLBACK_RATE = 0.25
"""Factor on the learning rates after each rollback."""
LOGITS = frozenset({"source_fake_logits", "target_fake_logits", "target_logits"})
FAKE_FEATURES = ("source_fake_features", "target_fake_features")


class Trainer:
    """f, g and D with their optimizers, at some step of a run."""

    def __init__(self, experiment: Experiment, session: Session) -> None:
        self.experiment, self.config, self.session = experiment, experiment.config, session
        device, group = session.device, session.group
        self.f: FrozenEncoder = experiment.transfer.encoder.to(device).to(memory_format=torch.channels_last)
        self.g: nn.Module = experiment.transfer.generator.to(device).to(memory_format=torch.channels_last)
        self.D: Discriminator = experiment.discriminator.to(device).to(memory_format=torch.channels_last)
        self.forward_f, self.forward_g, self.forward_D = networks = list[nn.Module]([self.f, self.g, self.D])
        """What a step calls: the networks, or their compiled forms. Both have the same weights."""
        for network in (self.g, self.D):
            group.sync_batch_norm(network, device)
        for item in (*experiment.generator_losses, *experiment.discriminator_losses):
            item.loss.to(device)  # a loss may hold a network of its own
        self.observers = Observers(experiment, device, group)
        self.rng = session.rng("step", 0)
        self.captured = CapturedUpdates(device, self.rng) if self.config.capture else None
        capturable, steps = self.config.capture, self.config.steps
        self.average = ExponentialMovingAverage(self.g, self.config.ema, capturable=capturable)
        optimizer = partial(Optimizer, experiment.registry, steps=steps, group=group, capturable=capturable)
        self.g_optimizer = optimizer(self.g, self.config.generator_optimizer)
        self.D_optimizer = optimizer(self.D, self.config.discriminator_optimizer)
        self.source, self.target = experiment.source.to(device), experiment.target.to(device)
        balance = self.config.balance_source
        self.domains = {
            "source": TrainingDomain("source", self.source, self.f, session, experiment.source_augmentation, balance=balance),
            "target": TrainingDomain("target", self.target, self.f, session, experiment.target_augmentation),
        }
        samples = [self.domains[name].sample_features() for name in DOMAINS] if experiment.align_features else None
        self.alignment = FeatureAlignment.of(*samples) if samples else None
        self.set_micro_batch_size(group.micro_batch_size(self.config.batch_size, self.config.accumulate))
        # Batch norm must not see the three kinds of image in one batch: the statistics of the mixture would tell D what it
        # should learn from the image itself.
        self.D_has_batch_norm = any(isinstance(module, _BatchNorm) for module in self.D.modules())
        self.judges_jointly = not (self.D_has_batch_norm or self.D.compares_images)
        for option in ("compile", "capture"):
            if getattr(self.config, option) and group.size > 1:
                raise DomtransError(f"train.{option}=true works in one process only; set it to false to train in several")
        if self.config.compile:
            self.forward_f, self.forward_g, self.forward_D = compile_networks(networks, device, graphs=not self.config.capture)
        counting = [item for item in experiment.generator_losses if item.term.weight]
        self.draws_twice = "source_second_fake" in fields_read(counting)
        self.updates, self.turns = updates_per_step(self.config), turns_per_step(self.config)
        self.monitor = Monitor.of(self.target, self.D, watch=self.config.health.watch)
        self.step_number = 0
        self.rollbacks = 0
        """How often the run went back to a checkpoint after it diverged."""
        self.hold_discriminator = False
        """Whether D is not updated, because it wins and the recipe lets the health watch act."""

    def step(self) -> dict[str, Tensor]:
        """Run one step.

        Returns:
            The unweighted losses by name, e.g. "generator.const": scalars on the device, means over all processes.
        """
        self._begin_step()
        losses: dict[str, Tensor] = {}
        for update in self.updates:
            batch: Sequence[Outputs] = self.load_batch(update)
            if self.captured:
                losses |= self.captured.learn(self._variant(update), partial(self.learn, update), batch)
                continue
            batch = self.with_fakes(update, batch)
            if update.discriminator:
                losses |= self.train_discriminator(batch)
            if update.generator:
                losses |= self.train_generator(batch)
        self.step_number += 1
        return dict(zip(losses, self.session.group.mean(list(losses.values())), strict=True))

    def learn(self, update: Update, batch: Sequence[Outputs]) -> dict[str, Tensor]:
        """One update after its batch is loaded: all that ``train.capture`` records.

        Args:
            update: Which networks learn.
            batch: The micro-batches of one batch.
        """
        batch = self.with_fakes(update, batch)
        losses = self.train_discriminator(batch) if update.discriminator else {}
        return losses | (self.train_generator(batch) if update.generator else {})

    def train_discriminator(self, batch: Sequence[Outputs]) -> dict[str, Tensor]:
        """One update of D, by L_D (equation 3): tell G(x_s), G(x_t) and x_t apart. g is fixed.

        Args:
            batch: The micro-batches of one batch.
        """
        losses = active(self.experiment.discriminator_losses, self.progress)
        if not losses:
            return {}
        self.D.train().requires_grad_(True)
        self.D_optimizer.zero_grad()
        totals, values, judged = [], [], []
        for micro_batch in batch:
            outputs = self.generate(micro_batch, with_graph=False)
            outputs = replace(outputs, source_fake=detached(outputs.source_fake), target_fake=detached(outputs.target_fake))
            with self.session.autocast():
                outputs = self.judge(outputs, "source_fake", "target_fake", "target")
                outputs = replace(outputs, discriminate=self.discriminator_of(outputs))
                total, terms = weighted_sum(losses, outputs, "discriminator")
            if total is None:
                return {}
            last = micro_batch is batch[-1] and not self.hold_discriminator
            self.D_optimizer.backward(total / len(batch), last=last)
            totals.append({"total": total.detach()})
            judged.append(only_logits(outputs))
            values.append(terms | self.monitor.discriminator(outputs))
        if not self.hold_discriminator:
            self.D_optimizer.step(skip=self._below_floor(mean_over_micro_batches(totals)["total"]))
        return mean_over_micro_batches(values) | self.observers.observe(losses, judged)

    def train_generator(self, batch: Sequence[Outputs]) -> dict[str, Tensor]:
        """One update of g, by L_G = L_GANG + alpha L_CONST + beta L_TID + gamma L_TV. D is fixed.

        Args:
            batch: The micro-batches of one batch.
        """
        losses = active(self.experiment.generator_losses, self.progress)
        reads = fields_read(losses)
        # D without batch norm is in eval mode: no power iteration, no dropout. D with batch norm uses the statistics of the
        # batch, because its running statistics lag behind what g generates now.
        self.D.train(self.D_has_batch_norm).requires_grad_(False)
        self.g_optimizer.zero_grad()
        has_gradient, values = False, []
        for micro_batch in batch:
            outputs = self.generate(micro_batch, with_graph=True)
            monitored = self.monitor.generator(outputs)
            with self.session.autocast():
                if reads & LOGITS:  # of real images only where a loss of g compares them with the fakes
                    real = ("target",) if "target_logits" in reads else ()
                    outputs = self.judge(outputs, "source_fake", "target_fake", *real)
                if reads & set(FAKE_FEATURES):
                    outputs = self.encode_fakes(outputs, reads)
                if reads & PARAMETER_FIELDS:
                    outputs = self.add_parameters(outputs)
                total, terms = weighted_sum(losses, outputs, "generator")
            if total is not None:
                self.g_optimizer.backward(total / len(batch), last=micro_batch is batch[-1])
                has_gradient = True
            values.append(monitored | terms)
        if has_gradient:
            self.g_optimizer.step()
            self.average.update(self.g)
        return mean_over_micro_batches(values)

    def load_batch(self, update: Update) -> list[Outputs]:
        """The batch of an update, in ``accumulate`` micro-batches: images x and features f(x) of its domains."""
        first = (self.step_number * self.turns + update.turn) * self.config.accumulate
        with self.session.autocast():
            return [self.load_micro_batch(update.domains, first + part) for part in range(self.config.accumulate)]

    def with_fakes(self, update: Update, batch: Sequence[Outputs]) -> Sequence[Outputs]:
        """Add G(x) to a batch, once for both networks. Several micro-batches with G(x) would not fit into memory."""
        return batch if len(batch) > 1 else [self.generate(batch[0], with_graph=update.generator)]

    def load_micro_batch(self, domains: Sequence[str], k: int) -> Outputs:
        """Micro-batch ``k`` of some domains: images x, features f(x), and the source labels where there are any."""
        outputs = Outputs(classify=self.f.classifier, align=self.alignment)
        for name in domains:
            index, images, features = self.domains[name].load_batch(k, self.rng)
            loaded: dict[str, Any] = {name: images, f"{name}_features": features}
            if name == "source" and self.source.labels is not None:
                loaded |= {"source_labels": self.source.labels[index], "source_classes": self.source.classes}
            if name == "target" and self.target.parameters is not None:
                loaded["target_parameters"] = self.target.parameters[index]
            outputs = replace(outputs, **loaded)
        return outputs

    def generate(self, outputs: Outputs, *, with_graph: bool) -> Outputs:
        """Add G(x) = g(f(x)) of both domains, in one pass of g; outputs that have it are returned as they are.

        Args:
            outputs: Images and features of one or both domains.
            with_graph: Keep the graph, so that g can learn.
        """
        if outputs.source_fake is not None or outputs.target_fake is not None:
            return outputs
        self.g.train()
        with torch.set_grad_enabled(with_graph), self.session.autocast():
            source = self.generator_input("source", outputs.source, outputs.source_features)
            target = self.generator_input("target", outputs.target, outputs.target_features)
            second = {"source_second_fake": source} if with_graph and self.draws_twice else {}
            fakes = in_one_pass(self.forward_g, {"source_fake": source, "target_fake": target, **second})
        return replace(outputs, **fakes)

    def generator_input(self, domain: str, images: Tensor | None, features: Tensor | None) -> Tensor | None:
        """What g gets: f(x), aligned for the target if the recipe says so; or x, where G does not contain f."""
        if images is not None and self.experiment.transfer.generator.reads_images:
            return to_channels(images, 3)
        return self.alignment(features) if self.alignment and domain == "target" and features is not None else features

    def judge(self, outputs: Outputs, *names: str) -> Outputs:
        """Add D's logits of the named images, in one pass where D's layers allow it."""
        view = self.experiment.discriminator_view
        present = {f"{name}_logits": getattr(outputs, name) for name in names if getattr(outputs, name) is not None}
        images = {name: view(x, self.rng) if view else x for name, x in present.items()}
        if not self.judges_jointly:
            logits = {name: self.forward_D(x, *self.class_condition(outputs, name)).float() for name, x in images.items()}
        else:
            condition = self.class_condition(outputs, *images)
            logits = in_one_pass(lambda x: self.forward_D(x, *condition), images)
        rows: dict[str, Any] = {name: logit_rows(each) for name, each in logits.items()}
        return replace(outputs, **rows)

    def discriminator_of(self, outputs: Outputs) -> Callable[[Tensor, str], Tensor]:
        """D for losses that call it: (images, domain) -> logits, through the recipe's view, and conditioned like the batch.

        Never compiled, because torch.compile has no gradients of gradients.
        """
        view = self.experiment.discriminator_view

        def discriminate(images: Tensor, domain: str) -> Tensor:
            seen = view(images, self.rng) if view else images
            return logit_rows(self.D(seen, *self.class_condition(outputs, domain)).float())

        return discriminate

    def class_condition(self, outputs: Outputs, *names: str) -> tuple[Tensor, ...]:
        """The condition of a class-conditional D, one-hot [B, K]: the class that f predicts for the x of each image."""
        if not self.D.condition_classes or not names:
            return ()
        features = [outputs.target_features if name.startswith("target") else outputs.source_features for name in names]
        return (torch.cat([self.f.class_condition(each) for each in features if each is not None]),)

    def encode_fakes(self, outputs: Outputs, reads: frozenset[str]) -> Outputs:
        """Add f(view(G(x))) of the fakes that a loss reads, in one pass. The gradient runs through f and the view to g."""
        images = {name: getattr(outputs, name.removesuffix("_features")) for name in FAKE_FEATURES if name in reads}
        return replace(outputs, **in_one_pass(self._encode_view, images))

    def add_parameters(self, outputs: Outputs) -> Outputs:
        """Add the logits of the parameters of G(x), of a g that draws by parameters."""
        logits: dict[str, Any] = {}
        for name in DOMAINS:
            features = self.generator_input(name, None, getattr(outputs, f"{name}_features"))
            if features is not None:
                logits[f"{name}_fake_parameters"] = self.experiment.transfer.generator.parameter_logits(features)
        return replace(outputs, **logits)

    def set_micro_batch_size(self, size: int) -> None:
        """Set the images of each domain in a micro-batch."""
        self.micro_batch_size = size
        for domain in self.domains.values():
            domain.set_batch_size(size)

    def _begin_step(self) -> None:
        """Set what the step depends on besides weights: progress, learning rates and random numbers, from (seed, step)."""
        if self.config.compile:
            begin_step()
        self.progress = self.step_number / self.config.steps
        group = self.session.group
        stream = ("step", self.step_number) if group.is_main else ("step", self.step_number, group.rank)
        rng = self.session.rng(*stream)
        self.rng = self.captured.reseeded(rng) if self.captured else rng
        layers = ("layers", *stream[1:])
        reseed(derive_seed(self.session.seed, *layers))  # torch's global generator, for dropout in any layer
        for optimizer in (self.g_optimizer, self.D_optimizer):
            optimizer.set_learning_rate(self.step_number, ROLLBACK_RATE**self.rollbacks)
        self.average.set_weight(self.step_number)

    def _variant(self, update: Update) -> Hashable:
        """What decides which operations an update consists of; each combination is recorded once."""
        losses = (*self.experiment.discriminator_losses, *self.experiment.generator_losses)
        return update, self.hold_discriminator, tuple(item.term.active(self.progress) for item in losses)

    def _below_floor(self, loss: Tensor) -> Tensor | None:
        """Whether L_D is below the recipe's floor, so that D is not updated; a scalar on the device. None without a floor."""
        floor = self.config.discriminator_floor
        return self.session.group.mean([loss])[0] < floor if floor else None

    def _encode_view(self, images: Tensor) -> Tensor:
        images = to_channels(images, self.f.encoder.channels)
        return self.forward_f(self.experiment.view(images, self.rng) if self.experiment.view else images)


def in_one_pass(network: Callable[[Tensor], Tensor], inputs: Mapping[str, Tensor | None]) -> dict[str, Any]:
    """Run a network over several batches at once: ``{name: network(batch)}`` in float32, without the names that are None."""
    present = {name: batch for name, batch in inputs.items() if batch is not None}
    if not present:
        return {}
    outputs = network(torch.cat(list(present.values()))).float()
    return dict(zip(present, outputs.split([len(batch) for batch in present.values()]), strict=True))


def logit_rows(logits: Tensor) -> Tensor:
    """Logits [B, 3] as they are; those of every patch, [B, 3, h, w], as one row for each patch: [B * h * w, 3]."""
    return logits if logits.ndim == 2 else logits.movedim(1, -1).flatten(0, -2)


def detached(images: Tensor | None) -> Tensor | None:
    """The same images without their graph."""
    return None if images is None else images.detach()
