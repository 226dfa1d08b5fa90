"""Descriptions of parts, read from their signatures and docstrings, for ``domtrans show``, the reference and the checks."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic.fields import FieldInfo

from domtrans.registry.docstrings import parse_docstring
from domtrans.registry.parts import PartOf, positional_parameters
from domtrans.registry.registry import KINDS, Entry

REQUIRED = inspect.Parameter.empty
COMPARISONS = {"gt": "> ", "ge": ">= ", "lt": "< ", "le": "<= "}
LENGTH_LIMITS = {"min_length": "at least", "max_length": "at most"}


@dataclass(frozen=True)
class Option:
    """The description of one option of a part."""

    name: str
    type: str
    default: Any
    """``REQUIRED`` if there is none."""
    help: str
    """What the docstring says about it; empty if it says nothing."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True)
class Description:
    """The description of one part."""

    kind: str
    name: str
    plugin: str
    module: str
    summary: str
    about: str
    """The whole docstring."""
    handed_in: tuple[str, ...]
    """Names of the arguments that the engine passes."""
    gives: str
    """What the part returns, in words."""
    options: tuple[Option, ...]
    licence: str = ""
    """Licence and credit of the data, drawings or weights that it uses; empty if the docstring names none."""

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain values."""
        options = [
            {"name": option.name, "type": option.type, "required": option.required}
            | ({} if option.required else {"default": _plain(option.default)})
            | {"help": option.help}
            for option in self.options
        ]
        return {**self.__dict__, "handed_in": list(self.handed_in), "options": options}


def describe(entry: Entry) -> Description:
    """Describe a registered part."""
    about = own_docstring(entry.factory)
    docstring = parse_docstring(about)
    return Description(
        kind=entry.kind,
        name=entry.name,
        plugin=entry.owner,
        module=getattr(entry.factory, "__module__", type(entry.factory).__module__),
        summary=docstring.summary,
        about=about,
        handed_in=tuple(positional_parameters(entry.factory)),
        gives=KINDS[entry.kind].returns,
        options=tuple(describe_options(entry.factory)),
        licence=docstring.licence,
    )


def describe_options(factory: Callable[..., Any]) -> list[Option]:
    """Describe the options of a part: its keyword-only parameters, in order."""
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    docstring = parse_docstring(own_docstring(factory))
    return [
        Option(
            name=parameter.name,
            type=type_in_words(hints.get(parameter.name, Any)),
            default=parameter.default,
            help=docstring.help_of(parameter.name),
        )
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def own_docstring(factory: Callable[..., Any]) -> str:
    """Return a part's docstring without its indentation; empty if a class only inherits one from a base class."""
    docstring = inspect.cleandoc(factory.__doc__) if isinstance(factory.__doc__, str) else ""
    return docstring if not inspect.isclass(factory) or "__doc__" in vars(factory) else ""


def type_in_words(annotation: Any) -> str:
    """Return a type in words: ``"int >= 1, or none"``, ``"'mse' or 'cosine'"``, ``"list of distances"``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        parts = [mark.kind for mark in annotation.__metadata__ if isinstance(mark, PartOf)]
        if parts:
            return parts[0]
        return " ".join([type_in_words(arguments[0]), *_limits(annotation.__metadata__)]).strip()
    if origin is Literal:
        return " or ".join(repr(value) for value in arguments)
    if origin in (Union, types.UnionType):
        words = [type_in_words(argument) for argument in arguments if argument is not type(None)]
        return " or ".join(words) + (", or none" if type(None) in arguments else "")
    if origin in (list, tuple, dict):
        words = [type_in_words(argument) for argument in arguments if argument is not Ellipsis]
        items = [KINDS[word].plural if word in KINDS else word for word in dict.fromkeys(words)]
        return f"table of {items[-1]}" if origin is dict else f"list of {', '.join(items)}"
    special = {Any: "anything", str: "text", bool: "true or false"}.get(annotation)
    return special or str(getattr(annotation, "__name__", annotation))


def default_in_words(default: Any) -> str:
    """Return a default as a recipe writes it."""
    if default is REQUIRED:
        return "required"
    if default is None:
        return "none"
    plain = _plain(default)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def _limits(metadata: tuple[Any, ...]) -> list[str]:
    """Return the limits in an annotation's metadata, from pydantic or annotated_types, as at most one phrase."""
    limits = []
    for mark in metadata:
        for limit in mark.metadata if isinstance(mark, FieldInfo) else [mark]:
            for name, sign in COMPARISONS.items():
                if isinstance(limit, annotated_types.BaseMetadata) and hasattr(limit, name):
                    limits.append(f"{sign}{getattr(limit, name)}")
            for name, words in LENGTH_LIMITS.items():
                if hasattr(limit, name) and getattr(limit, name):
                    limits.append(f"({words} {getattr(limit, name)})")
    return [" and ".join(limits)] if limits else []


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; text for what it cannot."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
