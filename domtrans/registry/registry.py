"""A dict per kind of part. It refuses duplicates, explains misses, and builds parts from names and options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from domtrans.errors import DomtransError
from domtrans.registry.parts import Nested, Part, did_you_mean, handed_in, schema, validate

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kind:
    """A sort of part: what the engine hands in and what comes out."""

    name: str
    handed: tuple[str, ...]
    gives: str
    optional: tuple[str, ...] = ()
    partial: bool = False
    """True: a plain function that the engine calls again and again, so building it only fixes its options."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("domain", ("split", "size"), "an ImageSet"),
        Kind("encoder", ("size", "classes"), "an Encoder, f"),
        Kind("fit", ("encoder", "source", "session"), "None: it trains f in place", optional=("target",), partial=True),
        Kind("generator", ("feature_size", "channels", "size"), "a Generator, g"),
        Kind("discriminator", ("channels", "size"), "a Discriminator, D"),
        Kind("loss", (), "a Loss"),
        Kind("distance", ("a", "b"), "a scalar", optional=("classify",), partial=True),
        Kind("augmentation", ("images", "rng"), "images of the same shape", partial=True),
        Kind("metric", ("inputs",), "a dict of named numbers, or lists of them", partial=True),
        Kind("recipe", (), "a Recipe"),
        Kind("study", (), "a Study"),
        Kind("tracker", ("folder", "recipe", "identity"), "a Tracker"),
    )
}


@dataclass(frozen=True)
class Entry:
    """One registered thing and the plugin that brought it."""

    kind: str
    name: str
    factory: Callable[..., Any]
    owner: str

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]


class Registry:
    """What plugins brought. Each plugin registers through a method named after the kind::

    registry.domain("usps", usps)        # or as a decorator: @registry.domain("usps")
    """

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.origins: dict[str, str] = {}
        """Where each plugin comes from, in words: its distribution and version, and the interface that it states."""
        self._owner = "this program"

    def domain(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(split, size, **options) -> ImageSet``; ``split`` is "train" or "test"."""
        return self._register("domain", name, factory)

    def encoder(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(size, classes, **options) -> Encoder``."""
        return self._register("encoder", name, factory)

    def fit(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(encoder, source, session, **options)`` trains f in place on the labelled source training set.

        A fourth parameter ``target`` receives the target training images, without their labels.
        """
        return self._register("fit", name, factory)

    def generator(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(feature_size, channels, size, **options) -> Generator``."""
        return self._register("generator", name, factory)

    def discriminator(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(channels, size, **options) -> Discriminator``."""
        return self._register("discriminator", name, factory)

    def loss(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(**options) -> Loss``."""
        return self._register("loss", name, factory)

    def distance(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(a, b, **options) -> scalar``; a third parameter ``classify`` receives f's head.

        Instead of a function it may be a class whose instances, built from the options, are called so.
        """
        return self._register("distance", name, factory)

    def augmentation(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(images, rng, **options) -> images``."""
        return self._register("augmentation", name, factory)

    def metric(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(inputs, **options) -> dict[str, number]``; lists of numbers, as deep as a matrix, will do too."""
        return self._register("metric", name, factory)

    def recipe(self, name: str, factory: Factory | None = None) -> Any:
        """``factory() -> Recipe``."""
        return self._register("recipe", name, factory)

    def study(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(**options) -> Study``."""
        return self._register("study", name, factory)

    def tracker(self, name: str, factory: Factory | None = None) -> Any:
        """``factory(folder, recipe, identity, **options) -> Tracker``."""
        return self._register("tracker", name, factory)

    def get(self, kind: str, name: str) -> Entry:
        """The entry of that kind and name; raises DomtransError, naming near misses."""
        try:
            return self._entries[kind][name]
        except KeyError:
            hint = did_you_mean(name, self._entries[kind], f"{kind}s")
            raise DomtransError(f"there is no {kind} '{name}'{hint}; `domtrans plugins` lists what is installed") from None

    def names(self, kind: str) -> list[str]:
        """Names registered for a kind, sorted."""
        return sorted(self._entries[kind])

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entries in self._entries.values() for entry in entries.values())

    def options(self, kind: str, part: Part) -> BaseModel:
        """The part's options, validated, defaults filled in; raises DomtransError for unknown or wrong ones."""
        return validate(schema(self.get(kind, part.name).factory), part.options, f"{kind} '{part.name}'")

    def resolve(self, kind: str, part: Part) -> Part:
        """The same part with every option written out, so that it means the same after a default has changed."""
        model = self.options(kind, part)
        full = {name: self._plain(getattr(model, name), model, name) for name in type(model).model_fields}
        return part.model_copy(update={"options": full})

    def arguments(self, kind: str, part: Part) -> dict[str, Any]:
        """The part's options as it receives them: validated, defaults filled in, nested parts built."""
        model = self.options(kind, part)
        return {name: self._built(getattr(model, name)) for name in type(model).model_fields}

    def build(self, kind: str, part: Part, *handed: Any) -> Any:
        """Build a part: nested parts first, then the thing itself from what the engine hands in and its options."""
        options = self.arguments(kind, part)
        entry = self.get(kind, part.name)
        factory = entry.factory
        if KINDS[kind].partial and not inspect.isclass(factory):
            function = functools.partial(factory, **options)
            return _with_optional_classify(factory, function) if kind == "distance" else function
        try:
            return factory(*handed, **options)
        except Exception as fault:
            fault.add_note(f"raised while building the {kind} '{part.name}' of plugin '{entry.owner}'")
            raise

    def _plain(self, value: Any, model: BaseModel, name: str) -> Any:
        if isinstance(value, Nested):
            return self.resolve(value.kind, value.part).model_dump(mode="json")
        if isinstance(value, list | tuple):
            return [self._plain(item, model, name) for item in value]
        if isinstance(value, dict):
            return {key: self._plain(item, model, name) for key, item in value.items()}
        return value if value is None or isinstance(value, str | int | float | bool) else str(value)

    def _built(self, value: Any) -> Any:
        if isinstance(value, Nested):
            kind = KINDS[value.kind]
            if kind.handed and not kind.partial:  # only its holder knows what to hand in
                return functools.partial(self.build, value.kind, value.part)
            return self.build(value.kind, value.part)
        if isinstance(value, list | tuple):
            return type(value)(self._built(item) for item in value)
        if isinstance(value, dict):
            return {key: self._built(item) for key, item in value.items()}
        return value

    def _register(self, kind: str, name: str, factory: Factory | None) -> Any:
        if factory is None:
            return functools.partial(self._register, kind, name)
        self._check(kind, name, factory)
        self._entries[kind][name] = Entry(kind, name, factory, self._owner)
        return factory

    def _check(self, kind: str, name: str, factory: Callable[..., Any]) -> None:
        who = f"plugin '{self._owner}' registers the {kind} {name!r}"
        if not isinstance(name, str) or not name or name == "none" or set(name) & set(" \t\n.="):
            raise DomtransError(f"{who}: a name is a word without spaces, '.' or '=', and not 'none'")
        if not callable(factory):
            raise DomtransError(f"{who}, which is not a class or function but {type(factory).__name__}")
        taken = self._entries[kind].get(name)
        if taken is not None:
            raise DomtransError(f"{who}, a name that plugin '{taken.owner}' has taken; one of the two must rename it")
        wanted, given = KINDS[kind], handed_in(factory)
        most = len(wanted.handed) + len(wanted.optional)
        if not (inspect.isclass(factory) and wanted.partial) and not len(wanted.handed) <= len(given) <= most:
            raise DomtransError(
                f"{who} with the positional parameters ({', '.join(given)}); the engine hands in "
                f"({', '.join(wanted.handed)}), and options come after a '*'"
            )
        try:
            options = set(schema(factory).model_fields)
        except (TypeError, NameError, ValueError, AttributeError, SyntaxError) as error:
            raise DomtransError(f"{who}, whose options cannot be read off its signature: {error}") from None
        clash = options & ({"name", "options"} | RESERVED.get(kind, set()))
        if clash:
            raise DomtransError(f"{who} with an option named '{sorted(clash)[0]}', a word that recipes use themselves")


RESERVED = {"loss": {"weight", "start", "stop"}, "encoder": {"weights"}}
"""Keys that a recipe keeps beside the options of such a part; ``name`` and ``options`` are kept for every kind."""


def _with_optional_classify(factory: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """All distances are called as (a, b, classify); a plain (a, b) function is spared the third argument."""
    if len(handed_in(factory)) == 3:
        return function

    def distance(a: Any, b: Any, classify: Any = None) -> Any:
        return function(a, b)

    return distance


class OwnedRegistry:
    """Hands a registry to one plugin: what it adds is kept only if all of it is sound."""

    def __init__(self, registry: Registry, owner: str) -> None:
        self._registry, self._owner = registry, owner

    def __enter__(self) -> Registry:
        self._before = {kind: dict(entries) for kind, entries in self._registry._entries.items()}
        self._outer, self._registry._owner = self._registry._owner, self._owner
        return self._registry

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._registry._owner = self._outer
        if kind is not None:
            self._registry._entries = self._before


def entries_of(registry: Registry, owner: str) -> Sequence[Entry]:
    """What one plugin registered."""
    return [entry for entry in registry if entry.owner == owner]
