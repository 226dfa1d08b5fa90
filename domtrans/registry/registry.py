"""The registry: one table of parts per kind. It refuses duplicates, explains unknown names, and builds parts."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from domtrans.errors import DomtransError
from domtrans.registry.image_sizes import NETWORKS, check_size
from domtrans.registry.parts import Nested, Part, did_you_mean, positional_parameters, schema, validate
from domtrans.registry.reader import DataReader
from domtrans.storage.paths import expand_home

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kind:
    """A kind of part: the arguments that the engine passes, and what the part returns."""

    name: str
    arguments: tuple[str, ...]
    returns: str
    optional: tuple[str, ...] = ()
    """Further arguments that a part may leave out of its signature."""
    is_function: bool = False
    """True: the engine calls the part again and again, so building it only fixes its options."""

    @property
    def plural(self) -> str:
        """The name for several of them."""
        if self.name.endswith("y"):
            return f"{self.name[:-1]}ies"
        return f"{self.name}es" if self.name.endswith("s") else f"{self.name}s"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("domain", ("split", "size"), "an ImageSet"),
        Kind("encoder", ("size", "classes"), "an Encoder, f"),
        Kind("fit", ("encoder", "source", "session"), "None: it trains f in place", optional=("target",), is_function=True),
        Kind("generator", ("feature_size", "channels", "size"), "a Generator, g", optional=("engine",)),
        Kind("discriminator", ("channels", "size"), "a Discriminator, D", optional=("head_size",)),
        Kind("loss", (), "a Loss", optional=("session",)),
        Kind("optimizer", ("parameters", "lr"), "a torch.optim.Optimizer", optional=("capturable",)),
        Kind("distance", ("a", "b"), "a scalar", optional=("classify",), is_function=True),
        Kind("augmentation", ("images", "rng"), "images of the same shape", is_function=True),
        Kind("metric", ("inputs",), "a dict of named numbers, or lists of them", is_function=True),
        Kind("detector", ("image", "size"), "a list of crops", is_function=True),
        Kind("recipe", (), "a Recipe", optional=("source", "target")),
        Kind("study", (), "a Study"),
        Kind("tracker", ("folder", "recipe", "identity"), "a Tracker"),
    )
}


HOLDOUT = "holdout"
"""The option of a domain that is the share of its images in the test split; ``evaluate`` sets it to 1 for other data."""


PLACEHOLDER = re.compile(r"\{(\w+)\}")
"""The name in braces in the key of a MetricValue."""


@dataclass(frozen=True)
class MetricValue:
    """How a value that a metric returns is shown, and what it is about.

    A metric that returns the same values for several names declares them once, with a name in braces in the key:
    ``"{attribute}_accuracy"`` is for ``skin_accuracy``, ``hair_accuracy`` and so on. The values whose keys have the same name
    in braces are shown as one table, here with a row for each attribute and a column for each such key.

    Args:
        key: Its key in the dict that the metric returns. A key without braces that is declared too takes precedence.
        label: Its name for people, and the head of its column in a table.
        unit: The unit; "%" for a share, which is between 0 and 1. None: "%" if the key ends in "accuracy", else no unit.
        measures_g: Whether it depends on G. ``export`` compares only such values.
        main: Whether it is the value that a run is judged by.
    """

    key: str
    label: str
    unit: str | None = None
    measures_g: bool = True
    main: bool = False

    def __post_init__(self) -> None:
        """Raise DomtransError for a key with several names in braces, and for a table that would be the main value."""
        names = PLACEHOLDER.findall(self.key)
        if len(names) > 1:
            raise DomtransError(f"the key '{self.key}' of a MetricValue has {len(names)} names in braces; one is possible")
        if names and self.main:
            raise DomtransError(f"the key '{self.key}' of a MetricValue is for several values, and only one can be main")


@dataclass(frozen=True)
class Entry:
    """A registered part and the plugin that registered it."""

    kind: str
    name: str
    factory: Callable[..., Any]
    owner: str
    values: tuple[MetricValue, ...] = ()
    """Of a metric: the values that its plugin describes."""
    reader: DataReader | None = None
    """Of a domain: what recognises its data."""

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]


class Registry:
    """All registered parts. A plugin registers a part with the method named after its kind.

    Each such method takes the part's name and its factory, a class or function, and returns the factory. Without the factory
    it is a decorator::

        registry.domain("usps", usps)

        @registry.domain("usps")
        def usps(split, size): ...
    """

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.origins: dict[str, str] = {}
        """Distribution, version and stated interface version of each plugin, in words."""
        self._owner = "this program"
        self._checks_types = True

    def domain(self, name: str, factory: Factory | None = None, *, reader: DataReader | None = None) -> Any:
        """Register a domain: ``factory(split, size, **options) -> ImageSet``, where ``split`` is "train" or "test".

        An option ``holdout`` must be the share of the images, 0 to 1, that is the test split. ``evaluate`` sets it to 1 for
        source data that took no part in training.

        Args:
            name: Name of the domain in recipes.
            factory: The function; None returns a decorator.
            reader: Recognises data of the domain, so that ``domtrans inspect PATH`` needs no name. None: it needs one.
        """
        return self._register("domain", name, factory, reader=reader)

    def encoder(self, name: str, factory: Factory | None = None) -> Any:
        """Register an encoder f: ``factory(size, classes, **options) -> Encoder``."""
        return self._register("encoder", name, factory)

    def fit(self, name: str, factory: Factory | None = None) -> Any:
        """Register a fit: ``factory(encoder, source, session, **options)``, which trains f in place.

        ``source`` is the labelled source training set. An optional fourth parameter ``target`` receives the target training
        images without their labels.
        """
        return self._register("fit", name, factory)

    def generator(self, name: str, factory: Factory | None = None) -> Any:
        """Register a generator g: ``factory(feature_size, channels, size, **options) -> Generator``.

        A g that reads maps gets their shape ``(C, h, w)`` instead of ``feature_size``.
        """
        return self._register("generator", name, factory)

    def discriminator(self, name: str, factory: Factory | None = None) -> Any:
        """Register a discriminator D: ``factory(channels, size, **options) -> Discriminator``.

        An optional third parameter ``head_size`` receives the number of logits of f's heads, 0 for an f without a head.
        """
        return self._register("discriminator", name, factory)

    def loss(self, name: str, factory: Factory | None = None) -> Any:
        """Register a loss: ``factory(**options) -> Loss``. An optional parameter ``session`` receives the Session."""
        return self._register("loss", name, factory)

    def optimizer(self, name: str, factory: Factory | None = None) -> Any:
        """Register an optimizer of g and D: ``factory(parameters, lr, **options) -> torch.optim.Optimizer``.

        The engine sets the learning rate of every parameter group before each step, after the recipe's schedule. An optional
        third parameter ``capturable`` is True if steps are recorded as CUDA graphs (``train.capture``). ``lr`` is then a
        tensor on the device, and a step must not wait for the device.
        """
        return self._register("optimizer", name, factory)

    def distance(self, name: str, factory: Factory | None = None) -> Any:
        """Register a distance: ``factory(a, b, **options) -> scalar``.

        An optional third parameter ``classify`` receives f's head. The factory may also be a class: it is built from the
        options, and its instances are called with the same arguments.
        """
        return self._register("distance", name, factory)

    def augmentation(self, name: str, factory: Factory | None = None) -> Any:
        """Register an augmentation: ``factory(images, rng, **options) -> images``."""
        return self._register("augmentation", name, factory)

    def metric(self, name: str, factory: Factory | None = None, *, values: Sequence[MetricValue] = ()) -> Any:
        """Register a metric: ``factory(inputs, **options) -> dict[str, number]``, where ``inputs`` is a MetricInput.

        A value may also be a list of numbers or a matrix.

        Args:
            name: Name of the metric in recipes.
            factory: The function; None returns a decorator.
            values: How values are shown. A value that is missing here is shown under its key.
        """
        return self._register("metric", name, factory, values=tuple(values))

    def detector(self, name: str, factory: Factory | None = None) -> Any:
        """Register a detector for ``domtrans transfer --crop``: ``factory(image, size, **options) -> list of crops``.

        ``image`` and the crops are PIL images of mode "RGB"; a crop has ``size`` x ``size`` pixels. The factory may also be a
        class: it is built from the options, and its instances are called with the same arguments. Several threads may call
        one at the same time.
        """
        return self._register("detector", name, factory)

    def recipe(self, name: str, factory: Factory | None = None) -> Any:
        """Register a recipe: ``factory() -> Recipe``.

        A recipe that chooses by its data has the parameters ``source`` and ``target``. Each is a DomainFacts, or None if the
        data is not known. It says what it chose in ``Recipe.choices``.
        """
        return self._register("recipe", name, factory)

    def study(self, name: str, factory: Factory | None = None) -> Any:
        """Register a study: ``factory(**options) -> Study``."""
        return self._register("study", name, factory)

    def tracker(self, name: str, factory: Factory | None = None) -> Any:
        """Register a tracker: ``factory(folder, recipe, identity, **options) -> Tracker``."""
        return self._register("tracker", name, factory)

    def with_part(self, kind: str, name: str, factory: Callable[..., Any]) -> Registry:
        """Return a copy of the registry in which a name stands for another factory."""
        other = Registry()
        other.origins = self.origins
        other._entries = {kind: dict(entries) for kind, entries in self._entries.items()}
        other._entries[kind].pop(name, None)
        other._register(kind, name, factory)
        return other

    def get(self, kind: str, name: str) -> Entry:
        """Return the entry of that kind and name.

        Raises:
            DomtransError: If there is none; it suggests similar names.
        """
        try:
            return self._entries[kind][name]
        except KeyError:
            hint = did_you_mean(name, self._entries[kind], KINDS[kind].plural)
            if kind == "domain" and os.path.exists(name):  # noqa: PTH110 - raises for no name
                hint += f"; to read files, name the domain and its path: folder, and path={name}"
            raise DomtransError(f"there is no {kind} '{name}'{hint}; `domtrans plugins` lists what is installed") from None

    def names(self, kind: str) -> list[str]:
        """Return the names registered for a kind, sorted."""
        return sorted(self._entries[kind])

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entries in self._entries.values() for entry in entries.values())

    def options(self, kind: str, part: Part) -> BaseModel:
        """Return the part's options, validated and with defaults filled in.

        Raises:
            DomtransError: If an option is unknown, missing or wrong.
        """
        return validate(schema(self.get(kind, part.name).factory), part.options, f"{kind} '{part.name}'")

    def resolve(self, kind: str, part: Part) -> Part:
        """Return the same part with every option written out, so that a later change of a default does not change it."""
        model = self.options(kind, part)
        full = {name: self._plain(getattr(model, name)) for name in type(model).model_fields}
        return part.model_copy(update={"options": full})

    def arguments(self, kind: str, part: Part) -> dict[str, Any]:
        """Return the part's options as it receives them: validated, defaults filled in, nested parts built."""
        model = self.options(kind, part)
        return {name: self._built(getattr(model, name)) for name in type(model).model_fields}

    def build(self, kind: str, part: Part, *arguments: Any) -> Any:
        """Build a part from the engine's arguments and its options. Nested parts are built first.

        Optional arguments that the part does not take are left out, so that a part can pass all of its own to a nested one.
        """
        options = self.arguments(kind, part)
        entry = self.get(kind, part.name)
        factory = entry.factory
        if KINDS[kind].is_function and not inspect.isclass(factory):
            function = functools.partial(factory, **options)
            return _with_optional_classify(factory, function) if kind == "distance" else function
        if kind in NETWORKS:
            check_size(kind, part.name, factory, arguments[KINDS[kind].arguments.index("size")])
            arguments = arguments[: max(len(KINDS[kind].arguments), len(positional_parameters(factory)))]
        try:
            return factory(*arguments, **options)
        except Exception as fault:
            fault.add_note(f"raised while building the {kind} '{part.name}' of plugin '{entry.owner}'")
            raise

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Nested):
            return self.resolve(value.kind, value.part).model_dump(mode="json")
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items()}
        return value if value is None or isinstance(value, str | int | float | bool) else str(value)

    def _built(self, value: Any) -> Any:
        if isinstance(value, Nested):
            kind = KINDS[value.kind]
            if kind.arguments and not kind.is_function:  # only the outer part knows the arguments
                return functools.partial(self.build, value.kind, value.part)
            return self.build(value.kind, value.part)
        if isinstance(value, list | tuple):
            return type(value)(self._built(item) for item in value)
        if isinstance(value, dict):
            return {key: self._built(item) for key, item in value.items()}
        return expand_home(value) if isinstance(value, str) else value

    def _register(self, kind: str, name: str, factory: Factory | None, **about: Any) -> Any:
        """Keep a part; ``about`` are the fields of its Entry that only its kind has."""
        if factory is None:
            return functools.partial(self._register, kind, name, **about)
        self._check(kind, name, factory)
        self._entries[kind][name] = Entry(kind, name, factory, self._owner, **about)
        return factory

    def _check(self, kind: str, name: str, factory: Callable[..., Any]) -> None:
        subject = f"plugin '{self._owner}' registers the {kind} {name!r}"
        if not isinstance(name, str) or not name or name == "none" or set(name) & set(" \t\n.="):
            raise DomtransError(f"{subject}: a name is a word without spaces, '.' or '=', and not 'none'")
        if not callable(factory):
            raise DomtransError(f"{subject}, but a part is a class or function, not {type(factory).__name__}")
        existing = self._entries[kind].get(name)
        if existing is not None:
            raise DomtransError(f"{subject}, a name that plugin '{existing.owner}' uses already; one of the two must rename it")
        expected, given = KINDS[kind], positional_parameters(factory)
        smallest, largest = len(expected.arguments), len(expected.arguments) + len(expected.optional)
        if not (inspect.isclass(factory) and expected.is_function) and not smallest <= len(given) <= largest:
            raise DomtransError(
                f"{subject} with the positional parameters ({', '.join(given)}); the engine passes "
                f"({', '.join(expected.arguments)}), and options come after a '*'"
            )
        try:
            model = schema(factory)
            if self._checks_types:
                model.model_rebuild()
            options = set(model.model_fields)
        except (TypeError, NameError, ValueError, AttributeError, SyntaxError) as error:
            raise DomtransError(f"{subject}, whose options cannot be read from its signature: {error}") from None
        clash = options & ({"name", "options"} | RESERVED_OPTIONS.get(kind, set()))
        if clash:
            raise DomtransError(f"{subject} with an option named '{sorted(clash)[0]}', which recipes use for something else")


RESERVED_OPTIONS = {
    "loss": {"weight", "start", "stop"},
    "encoder": {"weights"},
    "optimizer": {"lr", "schedule", "final_lr", "warmup"},
}
"""Names that recipes use next to the options of such a part; ``name`` and ``options`` are reserved for every kind."""


def _with_optional_classify(factory: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a distance of (a, b) callable as (a, b, classify), as the engine calls all of them."""
    if len(positional_parameters(factory)) == 3:
        return function

    def distance(a: Any, b: Any, classify: Any = None) -> Any:
        return function(a, b)

    return distance


@contextmanager
def registration(registry: Registry, owner: str, *, check_types: bool = True) -> Iterator[Registry]:
    """Run a block in which one plugin registers its parts; if it raises, none of them stays registered.

    Without ``check_types``, an option of a type that pydantic cannot validate is found when the part is used.
    """
    previous_owner, previous_entries = registry._owner, {kind: dict(entries) for kind, entries in registry._entries.items()}
    registry._owner, registry._checks_types = owner, check_types
    try:
        yield registry
    except BaseException:
        registry._entries = previous_entries
        raise
    finally:
        registry._owner, registry._checks_types = previous_owner, True
