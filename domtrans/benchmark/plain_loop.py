"""A plain training loop, written as in the paper, to compare the trainer's speed with.

It has the networks, losses, views and images of a trainer, and none of its optimisations: f encodes every batch again, D
judges each kind of image in its own pass and computes gradients in g's turn too, everything is float32 in torch's default
layout, the optimizer is torch's default, every loss is copied to Python at once, and a DataLoader passes one PIL image after
another through transforms. As in the fastest public implementations, g runs once per step.
"""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from domtrans.data.decode_worker import read_bytes
from domtrans.data.image_set import ImageSet, to_channels, to_float
from domtrans.interfaces import Outputs
from domtrans.recipe.schema import OptimizerConfig
from domtrans.registry.registry import Registry
from domtrans.training.losses import WeightedLoss, active, weighted_sum
from domtrans.training.optim import Optimizer
from domtrans.training.trainer import Trainer, detached, logit_rows

Batch = Mapping[str, Tensor]
"""``source`` and ``target``, float [B, C, H, W] in [-1, 1]; ``source_labels``, int64 [B], if there are labels; and
``target_parameters``, int64 [B, S], for a g that draws by parameters."""


class PlainLoop:
    """Copies of a trainer's networks, at the same step of the run.

    Args:
        trainer: The trainer to copy.
        batches: Endless.
    """

    def __init__(self, trainer: Trainer, batches: Iterator[Batch]) -> None:
        self.experiment, self.config, self.batches = trainer.experiment, trainer.config, batches
        self.device, self.generator_input = trainer.session.device, trainer.generator_input
        self.f, self.D = copy.deepcopy((trainer.f, trainer.D))
        self.g: Any = copy.deepcopy(trainer.g)
        for network in (self.f, self.g, self.D):
            network.to(memory_format=torch.contiguous_format)
        self.g.train()
        self.D.train().requires_grad_(True)
        optimizer = partial(plain_optimizer, self.experiment.registry, steps=self.config.steps)
        self.g_optimizer = optimizer(self.g, self.config.generator_optimizer)
        self.D_optimizer = optimizer(self.D, self.config.discriminator_optimizer)
        progress = trainer.step_number / self.config.steps
        self.generator_terms = active(self.experiment.generator_losses, progress)
        self.discriminator_terms = active(self.experiment.discriminator_losses, progress)
        self.rng = torch.Generator(self.device).manual_seed(0)

    def step(self) -> dict[str, float]:
        """Update both networks as often as a step of the trainer does. Returns unweighted losses by name."""
        config, losses = self.config, dict[str, float]()
        domains_per_update = (("source", "target"),) if config.updates == "joint" else (("source",), ("target",))
        for turn in range(max(config.discriminator_steps, config.generator_steps)):
            for names in domains_per_update:
                outputs = self.load_batch(names)
                if turn < config.discriminator_steps:
                    losses |= self.train_discriminator(outputs)
                if turn < config.generator_steps:
                    losses |= self.train_generator(outputs)
        return losses

    def load_batch(self, names: Sequence[str]) -> Outputs:
        """The next batch of the domains in ``names``: x, f(x) and G(x)."""
        batch = next(self.batches)
        outputs = Outputs(classify=self.f.classifier, align=lambda features: features)  # this loop aligns nothing
        for name in names:
            images = batch[name].to(self.device)
            augmentation = getattr(self.experiment, f"{name}_augmentation")
            images = augmentation(images, self.rng) if augmentation else images
            with torch.no_grad():
                features = self.f(images)
            read = self.generator_input(name, images, features)
            loaded: dict[str, Any] = {name: images, f"{name}_features": features, f"{name}_fake": self.g(read)}
            if self.experiment.transfer.generator.draws_by_parameters:
                loaded[f"{name}_fake_parameters"] = self.g.parameter_logits(read)
            for given in {"source": ["source_labels"], "target": ["target_parameters"]}[name]:
                if given in batch:
                    loaded[given] = batch[given].to(self.device)
            outputs = replace(outputs, **loaded)
        return outputs

    def train_discriminator(self, outputs: Outputs) -> dict[str, float]:
        """One update of D; the fakes are detached from g."""
        if not self.discriminator_terms:
            return {}
        fixed = replace(outputs, source_fake=detached(outputs.source_fake), target_fake=detached(outputs.target_fake))
        judged = self.judge(fixed, "source_fake", "target_fake", "target")
        judged = replace(judged, discriminate=lambda images, domain: self.logits(fixed, images, domain))
        return update(self.D_optimizer, self.discriminator_terms, judged, "discriminator")

    def train_generator(self, outputs: Outputs) -> dict[str, float]:
        """One update of g; D's gradients are computed too, and not used."""
        reads = frozenset[str]().union(*(term.loss.reads for term in self.generator_terms))
        for name in ("source_fake", "target_fake", "target"):
            if f"{name}_logits" in reads:
                outputs = self.judge(outputs, name)
        for name in ("source_fake", "target_fake"):
            images = getattr(outputs, name)
            if f"{name}_features" in reads and images is not None:
                images = to_channels(images, self.f.encoder.channels)
                images = self.experiment.view(images, self.rng) if self.experiment.view else images
                encoded: dict[str, Any] = {f"{name}_features": self.f(images)}
                outputs = replace(outputs, **encoded)
        if "source_second_fake" in reads and outputs.source is not None:
            second = self.g(self.generator_input("source", outputs.source, outputs.source_features))
            outputs = replace(outputs, source_second_fake=second)
        return update(self.g_optimizer, self.generator_terms, outputs, "generator")

    def judge(self, outputs: Outputs, *names: str) -> Outputs:
        """Add D's logits of the named images, one kind after another."""
        for name in names:
            images = getattr(outputs, name)
            if images is not None:
                judged: dict[str, Any] = {f"{name}_logits": self.logits(outputs, images, name.partition("_")[0])}
                outputs = replace(outputs, **judged)
        return outputs

    def logits(self, outputs: Outputs, images: Tensor, domain: str) -> Tensor:
        """D's logits [B, 3], or rows of patches, of images that belong to the x of a domain."""
        if self.experiment.discriminator_view:
            images = self.experiment.discriminator_view(images, self.rng)
        features = getattr(outputs, f"{domain}_features")
        condition = (self.f.class_condition(features),) if self.D.condition_classes else ()
        return logit_rows(self.D(images, *condition))


def plain_optimizer(registry: Registry, network: nn.Module, config: OptimizerConfig, steps: int) -> Optimizer:
    """The optimizer of the recipe, in torch's default implementation."""
    optimizer = Optimizer(registry, network, config, steps)
    for group in optimizer.torch.param_groups:
        if "fused" in group:
            group["fused"] = None
    return optimizer


def update(optimizer: Optimizer, terms: Sequence[WeightedLoss], outputs: Outputs, network: str) -> dict[str, float]:
    """Take a gradient step on the losses of g ("generator") or D ("discriminator"); returns their values."""
    optimizer.zero_grad()
    total, losses = weighted_sum(terms, outputs, network)
    if total is None:
        return {}
    total.backward()
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def fixed_batch(source: ImageSet, target: ImageSet, size: int) -> Iterator[Batch]:
    """The same batch again and again: the loop without the cost of its data."""
    batch: dict[str, Tensor] = {}
    for name, images in (("source", source), ("target", target)):
        index = torch.arange(size) % len(images)
        batch[name] = to_float(images.batch(index)).contiguous()
        if images.labels is not None:
            batch[f"{name}_labels"] = images.labels[index.to(images.labels.device)]
        if images.parameters is not None:
            batch[f"{name}_parameters"] = images.parameters[index.to(images.parameters.device)]
    return itertools.repeat(batch)


def data_loader_batches(source: ImageSet, target: ImageSet, size: int, workers: int) -> Iterator[Batch]:
    """Random batches of a DataLoader with so many worker processes; 0: in this process."""
    pairs = RandomPairs(source.to(torch.device("cpu")), target.to(torch.device("cpu")))
    return iter(DataLoader(pairs, size, sampler=range(2**40), num_workers=workers))


class RandomPairs(Dataset[Batch]):
    """A random image of each domain, as torchvision's data sets return them: a PIL image passed through transforms."""

    def __init__(self, source: ImageSet, target: ImageSet) -> None:
        self.sets = {"source": source, "target": target}
        self.transforms = {name: plain_transform(images) for name, images in self.sets.items()}

    def __getitem__(self, _: int) -> Batch:
        """``{"source": [C, H, W], "target": [C, H, W]}`` in [-1, 1], with labels and parameters if there are any."""
        pair = dict[str, Tensor]()
        for name, images in self.sets.items():
            index = torch.randint(len(images), (1,))
            pair[name] = self.transforms[name](open_image(images, index))
            if images.labels is not None:
                pair[f"{name}_labels"] = images.labels[index[0]]
            if images.parameters is not None:
                pair[f"{name}_parameters"] = images.parameters[index[0]]
        return pair


def plain_transform(images: ImageSet) -> Any:
    """Transforms from a PIL image to float [C, size, size] in [-1, 1]."""
    size, grey = images.shape[-1], [transforms.Grayscale()] if images.channels == 1 else []
    crop = [transforms.Resize(size), transforms.CenterCrop(size)]
    return transforms.Compose([*grey, *crop, transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])


def open_image(images: ImageSet, index: Tensor) -> Image.Image:
    """One image, from memory or from its file."""
    if isinstance(images.pixels, Tensor):
        return transforms.functional.to_pil_image(images.pixels[index[0]])
    (location,) = images.pixels.locations(index)
    return Image.open(io.BytesIO(read_bytes(location, images.pixels.download([location])))).convert("RGB")
