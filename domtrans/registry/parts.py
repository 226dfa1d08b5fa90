"""A part is a registered name with options. Its options are the keyword-only parameters of the registered class or function."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)

from domtrans.errors import DomtransError

MAX_DEPTH = 50
"""Levels of nesting in a recipe. Recipes written by hand use a tenth of this."""
MAX_VALUES = 100_000
"""Values in a recipe. Recipes written by hand use a tenth of this."""
MAX_INTEGER_BITS = 64
MAX_REPORTED_FAULTS = 5
"""Wrong options that one error message names."""


class Part(BaseModel):
    """The name of a registered part and the options to build it with.

    Recipes write it flat: ``"mse"`` or ``{"name": "weighted", "terms": ["mse", "cosine"]}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kept: ClassVar[tuple[str, ...]] = ()
    """Fields that stay as they are when a recipe replaces the part by the name of another."""

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

    A recipe writes such an option as a name or a table. The constructor receives the part, already built.

    Args:
        kind: Kind of the part, e.g. "distance".
    """

    kind: str


@dataclass(frozen=True)
class Nested:
    """A validated option that holds a part which is not built yet."""

    kind: str
    part: Part


def nested_parts(value: Any) -> Iterator[Nested]:
    """Yield every nested part in validated options, at any depth of lists and tables."""
    if isinstance(value, Nested):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from nested_parts(item)
    elif isinstance(value, dict):
        yield from nested_parts(list(value.values()))


def positional_parameters(factory: Callable[..., Any]) -> list[str]:
    """Return the names of a part's positional parameters, which the engine passes when it builds or calls the part."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(factory).parameters.values() if p.kind in positional]


_schemas: WeakKeyDictionary[Callable[..., Any], type[BaseModel]] = WeakKeyDictionary()
"""Weak keys, because a factory may hold data."""


def schema(factory: Callable[..., Any]) -> type[BaseModel]:
    """Build the pydantic model of a part's options from its keyword-only parameters. The model refuses unknown options.

    Its validator is built when it is first used, because that takes most of the time, and a command uses few parts.

    Raises:
        ValueError: If the name of an option begins with "_".
    """
    known = _schemas.get(factory)
    if known is None:
        known = _schemas[factory] = _make_schema(factory)
    return known


def _make_schema(factory: Callable[..., Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if parameter.name.startswith("_"):
                raise ValueError(f"the option '{parameter.name}' begins with '_'")
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            kind = _option_type(hints.get(parameter.name, Any))
            fields[parameter.name] = (Annotated[kind, BeforeValidator(_none)] if _is_optional(kind) else kind, default)
    config = ConfigDict(
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        defer_build=True,
    )
    return create_model(getattr(factory, "__name__", "options"), __config__=config, **fields)


def _option_type(annotation: Any) -> Any:
    """Return the annotation with every ``PartOf`` mark, at any depth, replaced by a type that validates a part."""
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


def _is_optional(annotation: Any) -> bool:
    """Whether an option may be None. An option of the form ``"none" | "batch"`` may not: its "none" is a word of its own."""
    if get_origin(annotation) is Annotated:
        return _is_optional(get_args(annotation)[0])
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def _none(value: Any) -> Any:
    """The word that stands for None on the command line."""
    return None if value == "none" else value


def validate(model: type[BaseModel], data: dict[str, Any], where: str) -> BaseModel:
    """Validate ``data`` against ``model``.

    Raises:
        DomtransError: With one sentence about everything that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise DomtransError(f"{where}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one clause for each fault: where it is, what is wrong, and the value that was given."""
    clauses = []
    faults = error.errors(include_url=False)
    for fault in faults[:MAX_REPORTED_FAULTS]:
        path = ".".join(str(step) for step in fault["loc"])
        if fault["type"] == "extra_forbidden":
            clauses.append(f"there is no option '{path}'{did_you_mean(path.split('.')[-1], model.model_fields, 'options')}")
        elif fault["type"] == "missing":
            clauses.append(f"option '{path}' must be given")
        else:
            given = repr(fault["input"])
            clauses.append(f"option '{path}': {_in_words(fault)}, not {given[:80]}" if path else _in_words(fault))
    more = len(faults) - MAX_REPORTED_FAULTS
    return "; ".join([*clauses, f"and {more} more"] if more > 0 else clauses)


def _in_words(fault: Any) -> str:
    """The message of a fault that pydantic found, without words of Python."""
    if fault["type"] == "dict_type":
        return "input should be a table"
    if fault["type"] == "model_type":
        parts: list[type[Part]] = [Part, *Part.__subclasses__()]
        is_part = fault["ctx"]["class_name"] in {part.__name__ for part in parts}
        return f"input should be {'a name or ' if is_part else ''}a table of options"
    message: str = fault["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    return message[:1].lower() + message[1:]


def check_plain(value: Any, where: str) -> None:
    """Check that a tree of values has the size of a recipe, so that code which walks it may recurse.

    Raises:
        DomtransError: If it is nested too deeply, has too many values, or has an integer that is too large.
    """
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
            elif isinstance(item, int) and item.bit_length() > MAX_INTEGER_BITS:
                raise DomtransError(f"{where}: an integer has {item.bit_length():,} bits; the limit is {MAX_INTEGER_BITS}")
        count += len(level)
        if not inner:
            return
        if count + len(inner) > MAX_VALUES:
            raise DomtransError(f"{where}: it has more than {MAX_VALUES:,} values")
        level = inner
    raise DomtransError(f"{where}: it is nested more than {MAX_DEPTH} levels deep")


def did_you_mean(name: str, known: Iterable[str], plural: str) -> str:
    """Return ``" (did you mean 'x'?)"`` if a known name is similar, else the list of all known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" ({plural}: {', '.join(names)})" if names else f" (there are no {plural})"
