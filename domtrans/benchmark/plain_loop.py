"""The training loop that one writes down from the paper, to time the engine against.

The same networks, losses, views and images as a trainer's, and none of its economies: f sees every batch anew, D judges each
kind of image in a pass of its own and gathers gradients in g's turn too, everything is float32 in torch's default layout,
the optimizer is torch's default, every loss is brought to Python at once, and images come through a DataLoader that takes one
PIL image after another through transforms. As in the leanest of the public implementations, g runs once a step.
"""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from domtrans.training.losses import WeightedLoss, active, weighted_sum
from domtrans.training.optim import Optimizer
from domtrans.training.trainer import Trainer, detached

Batch = Mapping[str, Tensor]
"""``source`` and ``target``, float [B, C, H, W] in [-1, 1], and ``source_labels``, int64 [B], where there are any."""


class PlainLoop:
    """Copies of a trainer's players, at the point of the run where it stands. ``batches``: endless."""

    def __init__(self, trainer: Trainer, batches: Iterator[Batch]) -> None:
        self.experiment, self.config, self.batches = trainer.experiment, trainer.config, batches
        self.device, self.read_by_g = trainer.session.device, trainer.read_by_g
        self.f, self.g, self.D = copy.deepcopy((trainer.f, trainer.g, trainer.D))
        for network in (self.f, self.g, self.D):
            network.to(memory_format=torch.contiguous_format)
        self.g.train()
        self.D.train().requires_grad_(True)
        self.g_optimizer = plain_optimizer(self.g, self.config.generator_optimizer, self.config.steps)
        self.D_optimizer = plain_optimizer(self.D, self.config.discriminator_optimizer, self.config.steps)
        progress = trainer.step_number / self.config.steps
        self.generator_terms = active(self.experiment.generator_losses, progress)
        self.discriminator_terms = active(self.experiment.discriminator_losses, progress)
        self.rng = torch.Generator(self.device).manual_seed(0)

    def step(self) -> dict[str, float]:
        """As many turns of both players as a step of the trainer has. Returns unweighted losses by name."""
        config, losses = self.config, dict[str, float]()
        sides = (("source", "target"),) if config.updates == "joint" else (("source",), ("target",))
        for turn in range(max(config.discriminator_steps, config.generator_steps)):
            for names in sides:
                seen = self.look(names)
                if turn < config.discriminator_steps:
                    losses |= self.discriminator_turn(seen)
                if turn < config.generator_steps:
                    losses |= self.generator_turn(seen)
        return losses

    def look(self, names: Sequence[str]) -> Outputs:
        """The next batch of the domains in ``names``: x, f(x) and G(x)."""
        batch = next(self.batches)
        seen = Outputs(classify=self.f.classify)
        for name in names:
            images = batch[name].to(self.device)
            augmentation = getattr(self.experiment, f"{name}_augmentation")
            images = augmentation(images, self.rng) if augmentation else images
            with torch.no_grad():
                features = self.f(images)
            fake = self.g(self.read_by_g(name, images, features))
            found: dict[str, Any] = {name: images, f"{name}_features": features, f"{name}_fake": fake}
            if name == "source" and "source_labels" in batch:
                found["source_labels"] = batch["source_labels"].to(self.device)
            seen = replace(seen, **found)
        return seen

    def discriminator_turn(self, seen: Outputs) -> dict[str, float]:
        """D learns; g's images come without the graph behind them."""
        if not self.discriminator_terms:
            return {}
        still = replace(seen, source_fake=detached(seen.source_fake), target_fake=detached(seen.target_fake))
        judged = self.judge(still, "source_fake", "target_fake", "target")
        return learn(self.D_optimizer, self.discriminator_terms, judged, "discriminator")

    def generator_turn(self, seen: Outputs) -> dict[str, float]:
        """g learns; D's gradients are computed along the way and thrown away."""
        reads = frozenset[str]().union(*(term.loss.reads for term in self.generator_terms))
        if reads & {"source_fake_logits", "target_fake_logits"}:
            seen = self.judge(seen, "source_fake", "target_fake")
        for name in ("source_fake", "target_fake"):
            images = getattr(seen, name)
            if f"{name}_features" in reads and images is not None:
                images = to_channels(images, self.f.encoder.channels)
                images = self.experiment.view(images, self.rng) if self.experiment.view else images
                seen = replace(seen, **{f"{name}_features": self.f(images)})
        return learn(self.g_optimizer, self.generator_terms, seen, "generator")

    def judge(self, seen: Outputs, *names: str) -> Outputs:
        """D's logits of the named images that are there, one kind after another."""
        for name in names:
            images = getattr(seen, name)
            if images is None:
                continue
            if self.experiment.discriminator_view:
                images = self.experiment.discriminator_view(images, self.rng)
            features = getattr(seen, f"{name.partition('_')[0]}_features")
            told = (self.f.opinion(features),) if self.D.reads_classes else ()
            seen = replace(seen, **{f"{name}_logits": self.D(images, *told)})
        return seen


def plain_optimizer(network: nn.Module, config: OptimizerConfig, steps: int) -> Optimizer:
    """The optimizer of the recipe, in the form that torch chooses where nobody asks for another."""
    optimizer = Optimizer(network, config, steps)
    for group in optimizer.torch.param_groups:
        group["fused"] = None
    return optimizer


def learn(optimizer: Optimizer, terms: Sequence[WeightedLoss], seen: Outputs, player: str) -> dict[str, float]:
    """A gradient step on a player's terms, and what they were."""
    optimizer.zero_grad()
    total, losses = weighted_sum(terms, seen, player)
    if total is None:
        return {}
    total.backward()
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def held(source: ImageSet, target: ImageSet, size: int) -> Iterator[Batch]:
    """One batch that is ready, for ever: what the loop costs without its data."""
    batch: dict[str, Tensor] = {}
    for name, images in (("source", source), ("target", target)):
        index = torch.arange(size) % len(images)
        batch[name] = to_float(images.batch(index)).contiguous()
        if images.labels is not None:
            batch[f"{name}_labels"] = images.labels[index.to(images.labels.device)]
    return itertools.repeat(batch)


def loaded(source: ImageSet, target: ImageSet, size: int, workers: int) -> Iterator[Batch]:
    """Random batches through a DataLoader, by as many processes as ``workers``; 0: by this one."""
    pairs = RandomPairs(source.to(torch.device("cpu")), target.to(torch.device("cpu")))
    return iter(DataLoader(pairs, size, sampler=range(2**40), num_workers=workers))


class RandomPairs(Dataset[Batch]):
    """A random image of each domain, as torchvision's data sets give them: a PIL image that went through transforms."""

    def __init__(self, source: ImageSet, target: ImageSet) -> None:
        self.sets = {"source": source, "target": target}
        self.transforms = {name: plain_transform(images) for name, images in self.sets.items()}

    def __getitem__(self, _: int) -> Batch:
        """``{"source": [C, H, W], "target": [C, H, W]}`` in [-1, 1], and labels where there are any."""
        found = dict[str, Tensor]()
        for name, images in self.sets.items():
            index = torch.randint(len(images), (1,))
            found[name] = self.transforms[name](open_image(images, index))
            if images.labels is not None:
                found[f"{name}_labels"] = images.labels[index[0]]
        return found


def plain_transform(images: ImageSet) -> Any:
    """PIL image to float [C, size, size] in [-1, 1]."""
    size, grey = images.shape[-1], [transforms.Grayscale()] if images.channels == 1 else []
    crop = [transforms.Resize(size), transforms.CenterCrop(size)]
    return transforms.Compose([*grey, *crop, transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])


def open_image(images: ImageSet, index: Tensor) -> Image.Image:
    """One image, from memory or from its file."""
    if isinstance(images.pixels, Tensor):
        return transforms.functional.to_pil_image(images.pixels[index[0]])
    (place,) = images.pixels.places(index)
    return Image.open(io.BytesIO(read_bytes(place))).convert("RGB")
