"""A part is a registered name with options; its options are the keyword-only parameters of what is registered."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model, model_serializer, model_validator

from domtrans.errors import DomtransError

DEEPEST, MOST_VALUES = 50, 100_000
"""Levels and values of a recipe; written by hand, it has a tenth of either."""

MOST_FAULTS = 5
"""Faults that one sentence names."""


class Part(BaseModel):
    """The name of a registered thing and the options to build it with.

    Written flat wherever a person sees it: ``"mse"`` or ``{"name": "weighted", "terms": ["mse", "cosine"]}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, Part):
            data = data.model_dump()
        if not isinstance(data, dict):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        flat = {key: value for key, value in data.items() if key not in own}
        given = own.get("options", {})
        return own | {"options": flat | given if isinstance(given, dict) else given}

    @model_serializer
    def _to_flat(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in type(self).model_fields if key != "options"}
        return own | self.options

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


@dataclass(frozen=True)
class PartOf:
    """Marks an option whose value is itself a part: ``distance: Annotated[Any, PartOf("distance")] = "mse"``.

    In a recipe such an option is written as a name or a table; the constructor receives the built thing.
    """

    kind: str


@dataclass(frozen=True)
class Nested:
    """A validated option that holds a part of the given kind, not yet built."""

    kind: str
    part: Part


def nested_parts(value: Any) -> Iterator[Nested]:
    """Every nested part in validated options, however deep in lists and tables."""
    if isinstance(value, Nested):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from nested_parts(item)
    elif isinstance(value, dict):
        yield from nested_parts(list(value.values()))


def handed_in(factory: Callable[..., Any]) -> list[str]:
    """Names of the positional parameters: what the engine hands in when it builds the part."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(factory).parameters.values() if p.kind in positional]


@functools.cache
def schema(factory: Callable[..., Any]) -> type[BaseModel]:
    """The pydantic model of a part's options, read off its keyword-only parameters; unknown options are refused."""
    fields: dict[str, Any] = {}
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if parameter.name.startswith("_"):
                raise ValueError(f"the option '{parameter.name}' begins with '_'")
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (_option_type(hints.get(parameter.name, Any)), default)
    config = ConfigDict(
        extra="forbid", validate_default=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )
    return create_model(getattr(factory, "__name__", "options"), __config__=config, **fields)


def _option_type(annotation: Any) -> Any:
    """The annotation with every ``PartOf`` mark, however deep, replaced by a type that validates a part."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [mark for mark in annotation.__metadata__ if isinstance(mark, PartOf)]
        if marks:
            return Annotated[Part, AfterValidator(functools.partial(Nested, marks[0].kind))]
        return Annotated[(_option_type(arguments[0]), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return Union[tuple(_option_type(argument) for argument in arguments)]  # noqa: UP007 - built at run time
    if origin in (list, tuple, dict):
        return origin[tuple(_option_type(argument) for argument in arguments)]
    return annotation


def validate(model: type[BaseModel], data: dict[str, Any], where: str) -> BaseModel:
    """Validate ``data`` against ``model``; raises DomtransError with one sentence for all that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise DomtransError(f"{where}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One clause a fault: where it is, what is wrong, what was given."""
    clauses = []
    faults = error.errors(include_url=False, include_context=False)
    for fault in faults[:MOST_FAULTS]:
        path = ".".join(str(step) for step in fault["loc"])
        if fault["type"] == "extra_forbidden":
            clauses.append(f"there is no option '{path}'{did_you_mean(path.split('.')[-1], model.model_fields, 'options')}")
        elif fault["type"] == "missing":
            clauses.append(f"option '{path}' must be given")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            given = repr(fault["input"])
            clauses.append(f"option '{path}': {message}, not {given[:80]}" if path else message)
    more = len(faults) - MOST_FAULTS
    return "; ".join([*clauses, f"and {more} more"] if more > 0 else clauses)


def check_plain(value: Any, where: str) -> None:
    """Raise DomtransError for a tree that is no recipe's: nested too deeply, too large, or with numbers no machine has.

    Whatever comes after, recursion and all, may then rely on it.
    """
    level, seen = [value], 0
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
            elif isinstance(item, int) and item.bit_length() > 64:
                raise DomtransError(f"{where}: it holds a number of {item.bit_length():,} bits; 64 are the most")
        seen += len(level)
        if not inner:
            return
        if seen + len(inner) > MOST_VALUES:
            raise DomtransError(f"{where}: it holds more than {MOST_VALUES:,} values")
        level = inner
    raise DomtransError(f"{where}: it is nested more than {DEEPEST} levels deep")


def did_you_mean(name: str, known: Iterable[str], what: str) -> str:
    """``" (did you mean 'x'?)"`` for a near miss, else the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" ({what}: {', '.join(names)})" if names else f" (it has no {what})"
