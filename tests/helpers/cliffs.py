"""A training that diverges at a known step."""

import pytest
import torch

import domtrans
from domtrans import Loss, override
from tiny import tiny_recipe


class Cliff(Loss):
    """Pulls images towards white; not a number once they are too white."""

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
    """Falls off at the full rate after some saves; a quarter of it stays on the ground."""
    wanted = {
        "generator_losses": {"cliff": {"name": "cliff"}},
        "discriminator_losses": {},
        "train.generator_optimizer": {"name": "adam", "lr": 2e-3},
        "train.steps": 16,
        "train.log_every": 4,
        "train.save_every": 5,
    }
    return override(tiny_recipe(folder), wanted | {key.replace("__", "."): v for key, v in changes.items()}, cliffs)
