"""What every kind of part promises, one sentence each. ``docs/reference/`` prints them; a failed check quotes them."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from domtrans.errors import DomtransError
from domtrans.registry.describe import describe
from domtrans.registry.parts import Part
from domtrans.registry.registry import KINDS, Entry, Registry

CONTRACTS = {
    "any-documented": "a part has a docstring: its first line says what it is, and ``Args:`` explain every option",
    "any-options": "every option has a type, and a default unless it must be given; a default is of its own type",
    "any-picklable": "a part can be pickled, so that worker processes can have it: it is defined at the top level of a module",
    "domain-gives": "a domain gives an ImageSet of the size it is asked for: uint8 [N, 1 or 3, size, size]",
    "domain-splits": 'the splits "train" and "test" have the same channels and classes, and are not the same images',
    "domain-deterministic": "a domain gives the same images each time it is asked, whatever the state of any global generator",
    "domain-seed": "a domain with an option ``seed`` gives other images for another seed",
    "domain-holdout": "an option ``holdout`` is the share of the images in the test split, up to 1",
    "domain-drawn": "of a RenderedDomain, picture i and what it shows hang on i and the options alone, in whichever process; "
    "what it shows is in the vocabulary",
    "domain-about": "``about`` is one line for people; images are not all alike",
    "network-forward": "for any batch the network gives finite float32 tensors of the shape that its base class names",
    "network-layout": "the network takes tensors in the channels_last layout, as the engine hands them in, to the same result",
    "network-gradient": "a gradient reaches the input through the network, for every item of a batch: it never detaches",
    "network-eval": "in eval mode an item's result depends on that item alone, is the same each time, and changes no state",
    "network-initial": "initial weights come from torch's generator: built twice under one seed, a network is the same",
    "network-device": "all tensors of a network are parameters or buffers, so that ``to(device)`` moves it whole",
    "network-saved": "``state_dict`` is all that a network is: written as safetensors and read into a new one, it is the same",
    "network-copy": "a network survives copy.deepcopy: the engine averages g in a copy",
    "network-autocast": "a network works under bfloat16 autocast",
    "encoder-attributes": "an encoder has ``channels`` (1 or 3) and ``feature_size`` (a positive number)",
    "encoder-head": "``logits`` gives [B, K] for features [B, F], the logits of all ``heads`` side by side",
    "generator-range": "a generator's images are in [-1, 1]",
    "loss-reads": "``reads`` names fields of Outputs, and ``forward`` uses no others",
    "loss-scalar": "a loss gives one finite float32 number, the same for the same record",
    "loss-gradient": "a gradient of the loss reaches what it judges: generated images, or D's logits",
    "loss-record": "a loss leaves the record and its tensors as they are",
    "loss-parameters": "nothing learns the weights inside a loss: they do not require gradients",
    "loss-separate": "where one domain is absent (train.updates=separate) a loss counts what is there, or raises DomtransError",
    "distance-scalar": "a distance gives one finite number for two batches of features, images, or either; else DomtransError",
    "distance-least": "no distance is smaller than that of a batch to itself",
    "distance-gradient": "a gradient of the distance reaches its second argument",
    "augmentation-shape": "an augmentation keeps the shape, and gives finite float32 images, grey or RGB",
    "augmentation-random": "equal generators give equal images; no randomness comes from elsewhere",
    "augmentation-gradient": "a gradient reaches the images through an augmentation",
    "metric-figures": "a metric gives a dict of named finite numbers, or (nested) lists of them, or raises NotMeasurableError "
    "where the data forbids it",
    "metric-evaluator": "a network of a metric's own derives from domtrans.Evaluator, which keeps it out of training",
    "metric-harmless": "a metric leaves the transfer that it measures as it is, and gives the same figures each time",
    "detector-crops": "a detector gives a list of RGB images of size x size pixels; it is empty where nothing is detected",
    "detector-deterministic": "the same image gives the same crops, also when several threads call the detector at once",
    "detector-harmless": "a detector leaves the image as it is",
    "fit-learns": "a fit returns None and changes the encoder's weights in place; they stay finite",
    "fit-deterministic": "under one seed a fit ends with the same weights",
    "fit-stops": "a fit calls ``session.report`` now and then, so that it can be watched and stopped",
    "recipe-whole": "a recipe function gives a Recipe of its registered name, with a description; all its parts are installed",
    "recipe-data": "a recipe survives being written as JSON and as TOML and read again",
    "recipe-trains": "a recipe trains",
    "study-whole": "a study function gives a Study of its registered name; the recipes of its rows are installed",
    "study-resolves": "the changes of every row fit its recipe",
    "tracker-hears": "a tracker takes every line of the log, with alarms and changes beside figures or alone, every sample "
    "grid, and at the end the results, or None where there are none",
    "tracker-resumes": "built again with the same identity, a tracker takes steps that it has heard already",
    "tracker-harmless": "a tracker leaves every file of the run as it is",
}
"""By anchor: ``<kind>-<word>``. "any" holds for every kind, "network" for encoders, generators and discriminators."""


def page_of(contract: str) -> str:
    """Return the page of the documentation that lists a contract."""
    kind = contract.partition("-")[0]
    return f"docs/reference/{KINDS[kind].plural if kind in KINDS else 'index'}.md"


@dataclass(frozen=True)
class Subject:
    """A registered part with options, under examination."""

    registry: Registry
    entry: Entry
    part: Part
    handed: dict[str, Any] = field(default_factory=dict)

    def build(self, *handed: Any) -> Any:
        """Build it as the engine does."""
        return self.registry.build(self.entry.kind, self.part, *handed)

    def require(self, holds: object, contract: str, found: str) -> None:
        """Raise AssertionError, quoting the contract and saying where it is written, unless it holds."""
        if not holds:
            raise AssertionError(
                f"{self.entry.kind} '{self.entry.name}' of plugin '{self.entry.owner}': {found}.\n"
                f"  The contract: {CONTRACTS[contract]}.\n"
                f"  It is written down in {page_of(contract)}#{contract}"
            )

    @contextmanager
    def works(self, contract: str, doing: str) -> Iterator[None]:
        """Turn whatever the part raises into a failure of the contract; DomtransError, which is for users, passes."""
        try:
            yield
        except (DomtransError, AssertionError):
            raise
        except Exception as fault:  # noqa: BLE001 - a stranger's part may raise anything at all
            reason = " ".join(str(fault).split())[:300]
            message = f"it raises {type(fault).__name__} when {doing}: {reason}"
            try:
                self.require(False, contract, message)
            except AssertionError as failure:
                raise failure from fault


def examine(kind: str, where: Any, name: str | None, options: dict[str, Any], handed: tuple[str, ...] = ()) -> Subject:
    """The part that a check is about: ``where`` is a registry (or ``Plugins``) and a name, or the factory itself.

    Checks what holds for every kind. Words of ``options`` that the engine hands in (``handed``) are set apart.
    """
    registry = getattr(where, "registry", where)
    if not isinstance(registry, Registry):
        if name is not None or not callable(where):
            raise TypeError(f"check_{kind} takes a registry and a name, or a class or function, not {where!r}")
        from domtrans.registry.plugins import load_plugins

        registry, name = load_plugins(only=()).registry, getattr(where, "__name__", kind)
        if name in registry.names(kind):
            name = f"{name}-under-test"
        getattr(registry, kind)(name, where)
    if name is None:
        raise TypeError(f"check_{kind}(registry, name) needs the name of what to check")
    chosen = {key: options.pop(key) for key in handed if key in options}
    subject = Subject(registry, registry.get(kind, name), Part.model_validate({"name": name} | options), chosen)
    check_common(subject)
    return subject


def check_common(subject: Subject) -> None:
    """What holds for every kind of part: documented, typed options whose defaults hold, picklable."""
    described = describe(subject.entry)
    subject.require(described.summary, "any-documented", "it has no docstring")
    for option in described.options:
        subject.require(option.help, "any-documented", f"its docstring says nothing of the option '{option.name}'")
        subject.require(option.type != "anything", "any-options", f"its option '{option.name}' has no type")
    try:
        subject.registry.resolve(subject.entry.kind, subject.part)
    except DomtransError as error:
        subject.require(False, "any-options", f"its options do not hold: {error}")
    check_pickle(subject, subject.entry.factory, "any-picklable")


def check_pickle(subject: Subject, thing: Any, contract: str) -> Any:
    """The thing after a round trip through pickle."""
    try:
        return pickle.loads(pickle.dumps(thing))
    except Exception as fault:  # noqa: BLE001 - pickle raises whatever an object's own methods do
        subject.require(False, contract, f"it cannot be pickled ({fault})")


@contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """Every global generator in a state of its own, and put back afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def seeded(seed: int, make: Callable[[], Any]) -> Any:
    """What ``make`` returns with every global generator seeded."""
    with global_seeds(seed):
        return make()
