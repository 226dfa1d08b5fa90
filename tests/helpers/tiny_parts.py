"""Parts so small that training, saving and loading with them takes milliseconds."""

from __future__ import annotations

import torch
from torch import nn

from domtrans import Discriminator, Encoder, Generator, ImageSet, Loss, Recipe, hookimpl, term, use


class F(Encoder):
    """f in 800 numbers."""

    channels = 3

    def __init__(self, size: int, classes: int, *, width: int = 4, depth: int = 1) -> None:
        super().__init__()
        self.feature_size = width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, width))
        for _ in range(depth - 1):
            self.layers.append(nn.Linear(width, width))
        self.heads = {"class": classes} if classes > 1 else {}
        self.head = nn.Linear(width, max(classes, 1))

    def forward(self, images):
        return self.layers(images.float())

    def logits(self, features):
        return self.head(features)


class PeekingF(F):
    """The same, but its constructor looks at its weights, which have no values on the meta device."""

    def __init__(self, size: int, classes: int, *, width: int = 4, depth: int = 1) -> None:
        super().__init__(size, classes, width=width, depth=depth)
        self.norm = float(self.head.weight.norm())


class G(Generator):
    """g in 320 numbers."""

    def __init__(self, feature_size: int, channels: int, size: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.shape, self.gain = (channels, size, size), gain
        self.layers = nn.Sequential(nn.Linear(feature_size, channels * size * size), nn.BatchNorm1d(channels * size * size))

    def forward(self, features):
        return torch.tanh(self.gain * self.layers(features).float()).unflatten(1, self.shape)


class D(Discriminator):
    """D in 200 numbers."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 3))

    def forward(self, images):
        return self.layers(images.float())


class Pull(Loss):
    """Something to learn."""

    reads = frozenset({"source_fake", "source_fake_features", "source_fake_logits"})

    def __init__(self, *, power: int = 2) -> None:
        super().__init__()
        self.power = power

    def forward(self, seen):
        return seen.source_fake.pow(self.power).mean() + seen.source_fake_logits.mean() + seen.source_fake_features.mean()


class Push(Loss):
    """Something for D to learn."""

    reads = frozenset({"source_fake_logits", "target_logits"})

    def forward(self, seen):
        return seen.target_logits.mean() - seen.source_fake_logits.mean()


def squares(split: str, size: int, *, count: int = 8) -> ImageSet:
    """Noise with labels."""
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(count) % 2, ("a", "b"))


class Plugin:
    """Parts so small that a case takes milliseconds."""

    @hookimpl
    def register(self, registry):
        registry.encoder("tiny-f", F)
        registry.encoder("peeking-f", PeekingF)
        registry.generator("tiny-g", G)
        registry.discriminator("tiny-d", D)
        registry.loss("pull", Pull)
        registry.loss("push", Push)
        registry.domain("squares", squares)


def recipe() -> Recipe:
    return Recipe(
        name="tiny",
        image_size=8,
        source=use("squares"),
        target=use("squares"),
        encoder={"name": "tiny-f"},
        generator=use("tiny-g"),
        discriminator=use("tiny-d"),
        generator_losses={"pull": term("pull")},
        discriminator_losses={"push": term("push")},
        train={"steps": 2, "batch_size": 2, "precision": "float32"},
    )
