"""A part put into words, read off its signature and docstring: for ``domtrans show``, the reference and the checks."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic.fields import FieldInfo

from domtrans.registry.parts import PartOf, handed_in
from domtrans.registry.registry import KINDS, Entry

REQUIRED = inspect.Parameter.empty
SIGNS = {"gt": "> ", "ge": ">= ", "lt": "< ", "le": "<= "}
LENGTHS = {"min_length": "at least", "max_length": "at most"}


@dataclass(frozen=True)
class Option:
    """One option of a part, for people."""

    name: str
    type: str
    default: Any
    """``REQUIRED`` where there is none."""
    help: str
    """What the docstring says of it; empty: nothing."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True)
class Description:
    """One part, for people."""

    kind: str
    name: str
    plugin: str
    module: str
    summary: str
    about: str
    """The whole docstring."""
    handed_in: tuple[str, ...]
    """What the engine hands in."""
    gives: str
    options: tuple[Option, ...]
    licence: str = ""
    """What may be done with what it is made from, and whom to credit; empty: it does not say."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        options = [
            {"name": one.name, "type": one.type, "required": one.required}
            | ({} if one.required else {"default": _plain(one.default)})
            | {"help": one.help}
            for one in self.options
        ]
        return {**self.__dict__, "handed_in": list(self.handed_in), "options": options}


def describe(entry: Entry) -> Description:
    """What there is to know about a registered part."""
    about = _docstring(entry.factory)
    return Description(
        kind=entry.kind,
        name=entry.name,
        plugin=entry.owner,
        module=getattr(entry.factory, "__module__", type(entry.factory).__module__),
        summary=about.partition("\n")[0],
        about=about,
        handed_in=tuple(handed_in(entry.factory)),
        gives=KINDS[entry.kind].gives,
        options=tuple(describe_options(entry.factory)),
        licence=licence_of(about),
    )


def describe_options(factory: Callable[..., Any]) -> list[Option]:
    """The options of a part: its keyword-only parameters, in order."""
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    text = _docstring(factory)
    return [
        Option(parameter.name, type_in_words(hints.get(parameter.name, Any)), parameter.default, help_of(parameter.name, text))
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def help_of(option: str, docstring: str) -> str:
    """What a docstring says of an option: the text after ``"``option``:"``, else the sentence that names it.

    Several may share a text: ``"``a``, ``b``: text"``. It ends where the next option's begins, at "Raises", or with the
    paragraph.
    """
    for paragraph in re.split(r"\n\s*\n", docstring):
        text = " ".join(paragraph.split())
        marks = list(re.finditer(r"(?:(?<=^)|(?<=[.;,] ))((?:``\w+``(?:, | and )?)+): ", text))
        for position, mark in enumerate(marks):
            if f"``{option}``" in mark[1]:
                end = marks[position + 1].start() if position + 1 < len(marks) else None
                said = text[mark.end() : end].partition(" Raises ")[0]
                return said.strip().rstrip(";,.")
        for sentence in re.split(r"(?<=[.;]) ", text):
            if f"``{option}``" in sentence:
                return sentence.strip().rstrip(";.").replace("``", "")
    return ""


def licence_of(docstring: str) -> str:
    """What a docstring says in the paragraph that begins with "Licence:", of data, drawings or weights; empty: nothing."""
    found = re.search(r"^Licence:(.*?)(?:\n\s*\n|\Z)", docstring, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def type_in_words(annotation: Any) -> str:
    """A type as people say it: ``"int >= 1, or none"``, ``"'mse' or 'cosine'"``, ``"list of distances"``."""
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
        inner = [type_in_words(argument) for argument in arguments if argument is not Ellipsis]
        many = [f"{word}{'es' if word.endswith('s') else 's'}" if word in KINDS else word for word in dict.fromkeys(inner)]
        return f"table of {many[-1]}" if origin is dict else f"list of {', '.join(many)}"
    special = {Any: "anything", str: "text", bool: "true or false"}.get(annotation)
    return special or str(getattr(annotation, "__name__", annotation))


def default_in_words(default: Any) -> str:
    """A default as a recipe writes it."""
    if default is REQUIRED:
        return "required"
    if default is None:
        return "none"
    plain = _plain(default)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def _limits(metadata: tuple[Any, ...]) -> list[str]:
    """Bounds in an annotation, however they are written."""
    found = []
    for mark in metadata:
        for limit in mark.metadata if isinstance(mark, FieldInfo) else [mark]:
            for name, sign in SIGNS.items():
                if isinstance(limit, annotated_types.BaseMetadata) and hasattr(limit, name):
                    found.append(f"{sign}{getattr(limit, name)}")
            for name, words in LENGTHS.items():
                if hasattr(limit, name) and getattr(limit, name):
                    found.append(f"({words} {getattr(limit, name)})")
    return [" and ".join(found)] if found else []


def _docstring(factory: Callable[..., Any]) -> str:
    """Its own docstring, not one inherited from a base class of the engine."""
    own = inspect.cleandoc(factory.__doc__ or "") if isinstance(factory.__doc__, str) else ""
    return own if not inspect.isclass(factory) or "__doc__" in vars(factory) else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
