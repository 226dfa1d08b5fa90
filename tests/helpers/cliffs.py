"""A training that diverges at a known step."""

import pytest
import torch

import domtrans
from domtrans import Loss, override
from tiny import tiny_recipe


class Cliff(Loss):
    """Makes images brighter; not a finite number once they are too bright."""

    reads = frozenset({"source_fake", "target_fake"})

    def forward(self, outputs):
        level = outputs.source_fake.mean()
        return -level + 0 * torch.log(0.06 - level)


class Cliffs:
    @domtrans.hookimpl
    def register(self, registry):
        registry.loss("cliff", Cliff)


@pytest.fixture(scope="module")
def cliffs():
    return domtrans.load_plugins(Cliffs()).registry


def cliff_recipe(folder, cliffs, **changes):
    """A recipe that diverges at the full learning rate after some checkpoints, and does not at a quarter of it."""
    wanted = {
        "generator_losses": {"cliff": {"name": "cliff"}},
        "discriminator_losses": {},
        "train.generator_optimizer": {"name": "adam", "lr": 2e-3},
        "train.steps": 16,
        "train.log_every": 4,
        "train.save_every": 5,
    }
    return override(tiny_recipe(folder), wanted | {key.replace("__", "."): v for key, v in changes.items()}, cliffs)
