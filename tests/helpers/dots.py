"""A tiny parameterised domain, dots in a colour, and a tiny g that draws by its parameters."""

from __future__ import annotations

import functools
import random
import sys
from pathlib import Path

import torch
from torch import nn

import tiny_parts
from domtrans import (
    Choice,
    Colour,
    DrawingEngine,
    Generator,
    ParameterSpace,
    Recipe,
    Registry,
    RenderedDomain,
    RenderedSet,
    Run,
    hookimpl,
    load_plugins,
    train,
    use,
)

SPACE = ParameterSpace(
    {
        "shape": Choice(("none", "circle", "square"), extras=("star",)),
        "shapeColor": Colour(("#ff0000", "#00ff00", "#0000ff")),
        "paper": Colour(("#ffffff", "#cccccc")),
    },
    shown_with={"shapeColor": {"shape": ("circle", "square", "star")}},
)
SHAPES = {
    "none": "",
    "circle": '<circle cx="5" cy="5" r="3" fill="{0}"/>',
    "square": '<rect x="2" y="2" width="6" height="6" fill="{0}"/>',
    "star": '<path d="M5 1 9 9 1 4H9L1 9z" fill="{0}"/>',
}


class Dots(DrawingEngine):
    """Draws a shape on paper."""

    space = SPACE
    version = "dots 2"

    def __init__(self, margin: int) -> None:
        self.options = {"margin": margin}

    def to_svg(self, parameters):
        shape = SHAPES[parameters["shape"]].format(parameters["shapeColor"])
        low, side = -self.options["margin"], 10 + 2 * self.options["margin"]
        box = f"{low} {low} {side} {side}"
        paper = f'<rect x="{low}" y="{low}" width="{side}" height="{side}" fill="{parameters["paper"]}"/>'
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{paper}{shape}</svg>'

    def attributes(self, parameters):
        return {"drawn": "no" if parameters["shape"] == "none" else "yes"}


@RenderedDomain
def dots(split: str, size: int, *, count: int = 12, margin: int = 0) -> RenderedSet:
    """Dots.

    Args:
        count: Images.
        margin: Free space around the drawing.
    """
    options = {"size": size, "margin": margin, "split": split}
    words = {"drawn": ("no", "yes")}
    return RenderedSet(draw, options, size=size, count=count, vocabulary=words, about=f"dots, {split}", engine=Dots(margin))


def draw(numbers, *, size, margin, split):
    engine = Dots(margin)
    for number in numbers:
        rng = random.Random(f"{split} {number}")
        parameters = SPACE.parameters([rng.randrange(n) for n in SPACE.sizes])
        yield engine.rasterise(parameters, size), engine.attributes(parameters), parameters


class DotGenerator(Generator):
    """g: features to the parameters of dots. Its images are flat, unlike those of the engine."""

    draws_by_parameters = True

    def __init__(self, feature_size: int, channels: int, size: int, engine: DrawingEngine) -> None:
        super().__init__()
        self.sizes, self.shape = engine.space.sizes, (channels, size, size)
        self.layer = nn.Linear(feature_size, sum(self.sizes))

    def parameter_logits(self, features):
        return self.layer(features).float().split(self.sizes, 1)

    def parameter_indices(self, features):
        return torch.stack([slot.argmax(1) for slot in self.parameter_logits(features)], 1)

    def forward(self, features):
        return torch.tanh(self.layer(features).float().mean(1))[:, None, None, None].expand(-1, *self.shape)


@functools.cache
def registry() -> Registry:
    """What is installed, the tiny parts, and dots."""
    return load_plugins(tiny_parts.Plugin(), sys.modules[__name__]).registry


def train_run(folder: Path, *, registry: Registry, **changes: object) -> Run:
    """A run of two steps whose g gives parameters of dots."""
    own = {"target": use("dots"), "generator": use("dot-generator"), "image_size": 8}
    recipe = Recipe(**tiny_parts.recipe().model_dump() | own | changes)
    return train(recipe, folder, device="cpu", registry=registry)


@hookimpl
def register(registry):
    registry.domain("dots", dots)
    registry.generator("dot-generator", DotGenerator)
