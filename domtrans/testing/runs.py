"""Checks of fits, metrics and recipes, on small example networks and images."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from domtrans.data.facts import DomainFacts
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError, Stopped
from domtrans.evaluation.evaluate import MetricInput, NotMeasurableError, leaves
from domtrans.evaluation.leak_guard import Evaluator
from domtrans.interfaces import Encoder, Generator
from domtrans.model.transfer import FrozenEncoder, Transfer
from domtrans.recipe.files import to_toml
from domtrans.recipe.overrides import differences, override
from domtrans.recipe.schema import Recipe, make_recipe
from domtrans.registry.parts import positional_parameters
from domtrans.session import Progress, Session
from domtrans.storage.cache import Cache
from domtrans.testing.contracts import Subject, examine, global_seeds, seeded
from domtrans.training.train import train

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

CLASSES = tuple("0123")


class ExampleEncoder(Encoder):
    """A small f with a classification head."""

    channels = 3
    feature_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = {"class": CLASSES}
        self.head = nn.Linear(8, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 8]."""
        return self.layers(images)

    def logits(self, features: Tensor) -> Tensor:
        """[B, 8] to [B, 4]."""
        return self.head(features)


class ExampleGenerator(Generator):
    """A small g."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, size * size), nn.Tanh(), nn.Unflatten(1, (1, size, size)))

    def forward(self, features: Tensor) -> Tensor:
        """[B, 8] to [B, 1, size, size]."""
        return self.layers(features)


def example_images(count: int = 24, *, channels: int = 3, size: int = 32, seed: int = 0) -> ImageSet:
    """Return images of noise with a bright bar; the position of the bar is the class."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, channels, size, size), generator=rng, dtype=torch.uint8)
    labels = torch.arange(count) % len(CLASSES)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, :, label * size // 4 : label * size // 4 + size // 8] += 190
    return ImageSet(images, labels, CLASSES, "bars")


def check_fit(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a fit against its contracts.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the fit; choose few steps, e.g. ``steps=25``.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("fit", where, name, options)
    reports: list[Progress] = []
    first = fitted(subject, reports)
    untouched = seeded(0, ExampleEncoder).state_dict()
    learned = any(not torch.equal(tensor, untouched[name]) for name, tensor in first.items())
    subject.require(learned, "fit-learns", "it does not change the encoder's weights")
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in first.values())
    subject.require(finite, "fit-learns", "the encoder's weights are not finite")
    again = fitted(subject, [])
    same = all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    subject.require(same, "fit-deterministic", "two fits of the same seed end with different weights")
    subject.require(reports, "fit-stops", "it never reports progress; check that it takes enough steps for one report")


def fitted(subject: Subject, reports: list[Progress]) -> dict[str, Tensor]:
    """Return the weights of a small encoder after the fit."""
    encoder = seeded(0, ExampleEncoder).train()
    with tempfile.TemporaryDirectory() as folder:
        session = Session.start(
            "cpu", precision="float32", seed=3, listeners=(reports.append,), cache=Cache(Path(folder))
        ).during("adapt")  # where every fit may stand
        source, target = example_images(), example_images(seed=1).unlabelled()
        arguments = (source, session, target)[: len(positional_parameters(subject.entry.factory)) - 1]
        with subject.works("fit-learns", "it fits"):
            found = seeded(4, lambda: subject.build()(encoder, *arguments))
    subject.require(found is None, "fit-learns", f"it returns a {type(found).__name__}")
    return encoder.state_dict()


def check_metric(where: Any, name: str | None = None, /, **options: Any) -> None:
    """Check a metric against its contracts, with labelled and with unlabelled data.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        options: Options of the metric.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("metric", where, name, options)
    metric = subject.build()
    for labelled in (True, False):
        found = []
        for seed in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                inputs, before = example_metric_input(Cache(Path(folder)), labelled=labelled)
                try:
                    with (
                        global_seeds(seed),
                        networks_beside(inputs.transfer) as others,
                        subject.works("metric-results", f"the data is {'' if labelled else 'un'}labelled"),
                    ):
                        found.append(metric(inputs))
                except NotMeasurableError:
                    break
            subject.require(not others, "metric-evaluator", f"it calls a network that is no Evaluator: {', '.join(others)}")
            after = inputs.transfer.state_dict()
            kept = not inputs.transfer.training and all(torch.equal(before[name], after[name]) for name in before)
            subject.require(kept, "metric-harmless", "it changes the transfer")
            check_values(subject, found[-1])
        subject.require(not found or found[0] == found[-1], "metric-harmless", f"two measurements give {found}")


@contextmanager
def networks_beside(transfer: Transfer) -> Iterator[list[str]]:
    """Collect the class names of networks called in the block whose weights are not those of the transfer or an evaluator."""
    found: list[str] = []
    visited: set[nn.Module] = set()

    def inspect(network: nn.Module, _: Any) -> None:
        if network in visited:
            return
        visited.update(network.modules())
        evaluators = [part for part in network.modules() if isinstance(part, Evaluator)]
        known = [weight for part in (transfer, *evaluators) for weight in part.parameters()]
        # Compared by value: a metric may well work on a copy of the transfer.
        if not all(any(same(weight, other) for other in known) for weight in network.parameters()):
            found.append(type(network).__name__)

    handle = hooks.register_module_forward_pre_hook(inspect)
    try:
        yield found
    finally:
        handle.remove()


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in type, device, shape and values."""
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def check_values(subject: Subject, values: Any) -> None:
    """Check for a dict of named finite numbers, or lists of them."""
    subject.require(isinstance(values, Mapping) and values, "metric-results", f"it returns {values!r}")
    for name, value in values.items():
        numbers = all(isinstance(leaf, int | float) and math.isfinite(leaf) for leaf in leaves(value))
        subject.require(isinstance(name, str) and numbers, "metric-results", f"its value {name!r} is {value!r}")


def example_metric_input(cache: Cache, *, labelled: bool = True) -> tuple[MetricInput, dict[str, Tensor]]:
    """Return the input of a metric, on example images, and the weights of its transfer."""
    encoder = FrozenEncoder(seeded(0, ExampleEncoder))
    transfer = Transfer(encoder, seeded(1, lambda: ExampleGenerator(32))).eval()
    sets = [example_images(), example_images(channels=1, seed=1), example_images(channels=1, seed=2)]
    source, target_train, target_test = sets if labelled else [images.unlabelled() for images in sets]
    session = Session.start("cpu", precision="float32", cache=cache).during("evaluate")
    before = {name: tensor.clone() for name, tensor in transfer.state_dict().items()}
    return MetricInput(transfer, source, target_train, target_test, session), before


LABELLED = DomainFacts(images=100, classes={"cat": 50, "dog": 50}, channels=3, side=64)
UNLABELLED = DomainFacts(images=1000, classes={}, channels=1)
"""Data for a recipe that chooses by it."""


def check_recipe(
    where: Any, name: str | None = None, /, *, overrides: Mapping[str, Any] | None = None, steps: int = 0, **options: Any
) -> None:
    """Check a recipe against its contracts.

    Args:
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry.
        overrides: Changes to make first, e.g. available data: ``{"source.root": "tests/data"}``.
        steps: Steps to train on the CPU, in a temporary folder; 0 trains nothing.
        options: Options of the recipe.

    Raises:
        AssertionError: For the first contract that does not hold; it quotes the contract.
    """
    subject = examine("recipe", where, name, options)
    count = len(positional_parameters(subject.entry.factory))
    recipe = subject.build(*[None] * count)
    if count:
        subject.require(isinstance(subject.build(LABELLED, UNLABELLED), Recipe), "recipe-whole", "it returns none for data")
    subject.require(isinstance(recipe, Recipe), "recipe-whole", f"it returns a {type(recipe).__name__}")
    wanted = subject.entry.name.removesuffix("-under-test")
    if where is subject.registry or hasattr(where, "registry"):
        subject.require(recipe.name == wanted, "recipe-whole", f"its Recipe is called '{recipe.name}'")
    subject.require(recipe.description, "recipe-whole", "its description is empty")
    try:
        whole = recipe.resolve(subject.registry)
        whole = override(whole, overrides, subject.registry) if overrides else whole
    except DomtransError as error:
        subject.require(False, "recipe-whole", str(error))
    try:
        changed = differences(whole, make_recipe(json.loads(whole.to_json()), "its JSON").resolve(subject.registry))
        to_toml(whole, subject.registry)
    except DomtransError as error:
        subject.require(False, "recipe-data", str(error))
    subject.require(not changed, "recipe-data", f"its JSON is another recipe: {'; '.join(map(str, changed[:3]))}")
    if steps:
        check_training(subject, whole, steps)


def check_training(subject: Subject, recipe: Recipe, steps: int) -> None:
    """Check that the recipe trains for some steps, and load the result."""
    with tempfile.TemporaryDirectory() as folder, subject.works("recipe-trains", f"it trains for {steps} steps"):
        try:
            run = train(recipe, folder + "/run", overrides={"train.steps": steps}, device="cpu", registry=subject.registry)
        except (DomtransError, Stopped) as error:
            subject.require(False, "recipe-trains", str(error))
        subject.require(run.results.get("steps") == steps, "recipe-trains", f"its results are {dict(run.results)}")
