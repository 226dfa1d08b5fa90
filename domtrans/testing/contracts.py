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

from domtrans.errors import DomtransError, reason_of
from domtrans.registry.describe import describe
from domtrans.registry.parts import Part
from domtrans.registry.registry import KINDS, Entry, Registry

__tracebackhide__ = True  # pytest shows the caller of a check that fails, not the check

CONTRACTS = {
    "any-documented": "a part has a docstring: the first line says what it is, and ``Args:`` explains every option",
    "any-options": "every option has a type, and a default of that type unless the option is required",
    "any-picklable": "a part can be pickled for worker processes, so it is defined at the top level of a module",
    "domain-gives": "a domain returns an ImageSet of the requested size: uint8 [N, C, size, size]",
    "domain-splits": 'the splits "train" and "test" have the same channels and classes, but different images',
    "domain-deterministic": "a domain returns the same images in every call, whatever the state of the global generators",
    "domain-seed": "a domain with an option ``seed`` returns other images for another seed",
    "domain-holdout": "an option ``holdout`` is the share of the images in the test split, up to 1",
    "domain-rendered": "image i of a RenderedDomain and its labels depend only on i and the options, in every process; the "
    "labels are in the vocabulary",
    "domain-parameters": "the parameters of every image are in the space of the engine; indices and JSON give the same "
    "parameters back, and a hidden slot has no effect",
    "domain-engine": "an engine draws every image of its domain exactly from the parameters, shows the same attributes, is "
    "deterministic, and can be made again from its options",
    "domain-svg": "a drawing is SVG that only draws, without scripts, links and other files",
    "domain-about": "``about`` is one line for people, and the images are not all equal",
    "network-forward": "for a batch of any size, the network returns finite float32 tensors of the shape that its base class "
    "states",
    "network-layout": "the network accepts tensors in the channels_last layout, with the same result",
    "network-gradient": "the gradient reaches the input of the network for every item of a batch; the network never detaches",
    "network-eval": "in eval mode, the result for an item depends on that item only (unless a D says that it compares images), "
    "is repeatable, and changes no state",
    "network-initial": "initial weights come from torch's global generator: the same seed gives the same network",
    "network-device": "all tensors of a network are parameters or buffers, so that ``to(device)`` moves all of them",
    "network-saved": "``state_dict`` holds the whole state: written as safetensors and loaded into a new network, it gives the "
    "same results",
    "network-copy": "a network can be copied with copy.deepcopy, because the engine keeps the EMA of g in a copy",
    "network-autocast": "a network works under bfloat16 autocast",
    "encoder-attributes": "an encoder has ``channels`` (from 1 to 64) and ``feature_size`` (a positive integer); one of maps "
    "has ``feature_shape`` (C, h, w) instead",
    "encoder-head": "``logits`` turns features into [B, K], the logits of all ``heads`` side by side",
    "generator-range": "the images of a generator are in [-1, 1]",
    "generator-parameters": "a generator that draws by parameters gives the logits of every slot and an index within each, the "
    "same for an image in any batch",
    "loss-reads": "``reads`` names fields of Outputs, and ``forward`` uses no others",
    "loss-scalar": "a loss returns one finite float32 number, and the same number for the same outputs",
    "loss-gradient": "the gradient of a loss reaches generated images, their parameters, or the logits of D",
    "loss-outputs": "a loss does not change the outputs that it is given",
    "loss-parameters": "weights inside a loss do not require gradients, because nothing trains them",
    "loss-separate": "if one domain is missing (train.updates=separate), a loss uses the other one or raises DomtransError",
    "optimizer-steps": "an optimizer is a torch.optim.Optimizer of all parameters that it gets; a step with a learning rate of "
    "0 changes none of them",
    "optimizer-descends": "steps with a small learning rate make a loss smaller",
    "optimizer-deterministic": "equal parameters and equal gradients give equal parameters after a step",
    "optimizer-state": "the state is tensors and numbers, which the first step makes; with it, a new optimizer takes the same "
    "steps",
    "distance-scalar": "a distance returns one finite number for two batches of features, of images, or both; it raises "
    "DomtransError for what it does not support",
    "distance-least": "no distance is smaller than that between a batch and itself",
    "distance-gradient": "the gradient of the distance reaches its second argument",
    "augmentation-shape": "an augmentation keeps the shape, and returns finite float32 images, for grey and RGB",
    "augmentation-random": "equal generators give equal images; all randomness comes from the generator",
    "augmentation-gradient": "the gradient reaches the images through an augmentation",
    "metric-results": "a metric returns a dict of named finite numbers, or (nested) lists of them; it raises "
    "NotMeasurableError if the data does not allow it",
    "metric-evaluator": "a network of a metric derives from domtrans.Evaluator, which keeps it out of training",
    "metric-harmless": "a metric does not change the transfer that it measures, and returns the same values every time",
    "detector-crops": "a detector returns a list of RGB images of size x size pixels, empty if nothing is detected",
    "detector-deterministic": "the same image gives the same crops, also if several threads call the detector at once",
    "detector-harmless": "a detector does not change the image",
    "fit-learns": "a fit returns None and changes the encoder's weights in place; they stay finite",
    "fit-deterministic": "the same seed gives the same weights after a fit",
    "fit-stops": "a fit calls ``session.progress`` regularly, so that it can be watched and stopped",
    "recipe-whole": "a recipe function returns a Recipe with its registered name and a description; its parts are installed; "
    "one that chooses by its data returns one without knowing the data, too",
    "recipe-data": "a recipe can be written as JSON and as TOML, and read back unchanged",
    "recipe-trains": "a recipe trains",
    "study-whole": "a study function returns a Study with its registered name; the recipes of its rows are installed",
    "study-resolves": "the changes of every row fit its recipe",
    "tracker-receives": "a tracker accepts every line of the log (losses, alarms and changes, together or alone), every sample "
    "grid, and finally the results, or None if there are none",
    "tracker-resumes": "a new tracker with the same identity accepts steps that were logged before",
    "tracker-harmless": "a tracker does not change the files of the run",
}
"""By anchor: ``<kind>-<word>``. "any" holds for every kind, "network" for encoders, generators and discriminators."""


def page_of(contract: str) -> str:
    """Return the page of the documentation that lists a contract."""
    kind = contract.partition("-")[0]
    return f"docs/reference/{KINDS[kind].plural if kind in KINDS else 'index'}.md"


@dataclass(frozen=True)
class Subject:
    """The part that is checked, with its options."""

    registry: Registry
    entry: Entry
    part: Part
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self, *arguments: Any) -> Any:
        """Build it as the engine does."""
        return self.registry.build(self.entry.kind, self.part, *arguments)

    def require(self, holds: object, contract: str, found: str) -> None:
        """Raise AssertionError, with the contract and its place in the reference, unless ``holds``."""
        if not holds:
            raise AssertionError(
                f"{self.entry.kind} '{self.entry.name}' of plugin '{self.entry.owner}': {found}.\n"
                f"  The contract: {CONTRACTS[contract]}.\n"
                f"  See {page_of(contract)}#{contract}"
            )

    @contextmanager
    def works(self, contract: str, doing: str) -> Iterator[None]:
        """Turn any exception of the part into a failure of the contract, except DomtransError, which is for users."""
        try:
            yield
        except (DomtransError, AssertionError):
            raise
        except Exception as fault:  # noqa: BLE001 - a part may raise anything
            message = f"it raises {type(fault).__name__} when {doing}: {reason_of(fault, 300)}"
            try:
                self.require(False, contract, message)
            except AssertionError as failure:
                raise failure from fault


def examine(kind: str, where: Any, name: str | None, options: dict[str, Any], arguments: tuple[str, ...] = ()) -> Subject:
    """Find the part that a check is about, and check the contracts of every kind.

    Args:
        kind: The kind of the part.
        where: A registry or ``Plugins``, or the class or function itself.
        name: The name in the registry; None for a class or function.
        options: Options of the part, and arguments of the engine.
        arguments: Names in ``options`` that are arguments of the engine.
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
        raise TypeError(f"check_{kind}(registry, name) needs the name of the part to check")
    chosen = {key: options.pop(key) for key in arguments if key in options}
    subject = Subject(registry, registry.get(kind, name), Part.model_validate({"name": name} | options), chosen)
    check_common(subject)
    return subject


def check_common(subject: Subject) -> None:
    """Check that the part is documented and picklable, and that its options have types and valid defaults."""
    described = describe(subject.entry)
    subject.require(described.summary, "any-documented", "it has no docstring")
    for option in described.options:
        subject.require(option.help, "any-documented", f"its docstring does not explain the option '{option.name}'")
        subject.require(option.type != "anything", "any-options", f"its option '{option.name}' has no type")
    missing = [
        f"{option.name}=..." for option in described.options if option.required and option.name not in subject.part.options
    ]
    pass_them = f"it has options without a default; pass {', '.join(missing)} to check_{subject.entry.kind}"
    subject.require(not missing, "any-options", pass_them)
    try:
        subject.registry.resolve(subject.entry.kind, subject.part)
    except DomtransError as error:
        subject.require(False, "any-options", f"its options are not valid: {error}")
    check_pickle(subject, subject.entry.factory, "any-picklable")


def check_pickle(subject: Subject, thing: Any, contract: str) -> Any:
    """Return an object after a round trip through pickle."""
    try:
        return pickle.loads(pickle.dumps(thing))
    except Exception as fault:  # noqa: BLE001 - pickle raises whatever an object's own methods do
        subject.require(False, contract, f"it cannot be pickled ({fault})")


@contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """Seed every global generator, and restore its state afterwards."""
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
    """Return ``make()``, called with every global generator seeded."""
    with global_seeds(seed):
        return make()
