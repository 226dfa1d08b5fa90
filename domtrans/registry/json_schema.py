"""The options of parts as JSON Schema (draft 7), for editors that complete and check recipe files."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, WithJsonSchema
from pydantic.errors import PydanticUserError

from domtrans.registry.describe import describe_options
from domtrans.registry.parts import PartOf
from domtrans.registry.registry import Registry

MARK = "part of kind"
"""Stands for a reference until pydantic is done, because pydantic resolves references itself."""


def kind_definitions(registry: Registry, kind: str, key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The definitions of a part of some kind: a name, a table with name and options, or options alone in a file that extends.

    The alternatives under ``anyOf`` are for completion and refuse nothing. The conditions under ``allOf`` check, because an
    editor can say which of them fails.

    Args:
        registry: The parts.
        kind: The kind of the part.
        key: The name of the definition; those of its tables are called ``KEY.NAME``.
        fields: Schemas of fields that a part has in this place besides its options, such as ``weight``.
    """
    names, tables = registry.names(kind), dict[str, Any]()
    for name in names:
        entry = registry.get(kind, name)
        properties = {"name": {"const": name, "description": entry.summary}, **fields, **options_schema(entry.factory)}
        required = ["name", *(option.name for option in describe_options(entry.factory) if option.required)]
        about = {"title": name, "description": entry.summary, "type": "object"}
        tables[f"{key}.{name}"] = about | {"properties": properties, "required": required}
    known = dict.fromkeys(option for table in tables.values() for option in table["properties"] if option != "name")
    named: dict[str, Any] = {"type": "object", "required": ["name"]}
    checks: list[dict[str, Any]] = [
        {"type": ["string", "object", "null"]},
        {"if": {"type": "string"}, "then": {"enum": names}},
        {"if": named, "then": {"properties": {"name": {"enum": names}}}},
        {"if": {"type": "object", "not": {"required": ["name"]}}, "then": {"propertyNames": {"enum": list(known)}}},
    ]
    for (place, table), name in zip(tables.items(), names, strict=True):
        strict = {"allOf": [{"$ref": f"#/definitions/{place}"}], "propertyNames": {"enum": list(table["properties"])}}
        checks.append({"if": named | {"properties": {"name": {"const": name}}}, "then": strict})
    choices: list[dict[str, Any]] = [
        {"type": "string", "enum": names},
        *({"$ref": f"#/definitions/{place}"} for place in tables),
        {"type": "object", "properties": {option: {} for option in known}},
        {},
    ]
    return tables | {key: {"anyOf": choices, "allOf": checks}}


def options_schema(factory: Callable[..., Any]) -> dict[str, Any]:
    """The schema of every option of a part, by name."""
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    schemas = {}
    for option in describe_options(factory):
        schema = type_schema(hints.get(option.name, Any))
        if option.help:
            schema["description"] = option.help
        if not option.required and isinstance(option.default, str | int | float | bool):
            schema["default"] = option.default
        schemas[option.name] = schema
    return schemas


def type_schema(annotation: Any) -> dict[str, Any]:
    """The schema of a type. A type that JSON Schema cannot express allows anything; domtrans checks it all the same."""
    try:
        schema = TypeAdapter(_with_marks(annotation)).json_schema()
    except PydanticUserError:
        return {}
    return {} if "$defs" in schema else _in_draft_7(schema)


def _in_draft_7(schema: Any) -> Any:
    """The schema with every mark of a part, at any depth, as a reference to the definition of its kind."""
    if isinstance(schema, list):
        return [_in_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if MARK in schema:
        rest = {key: value for key, value in schema.items() if key != MARK}
        reference = {"$ref": f"#/definitions/{schema[MARK]}"}
        return {"allOf": [reference], **rest} if rest else reference  # draft 7 ignores what stands beside a reference
    names = {"prefixItems": "items"}  # pydantic writes the tuples of a later draft
    return {names.get(key, key): _in_draft_7(value) for key, value in schema.items()}


def _with_marks(annotation: Any) -> Any:
    """The annotation with every part in it, at any depth, as a type whose schema names the kind."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [mark for mark in annotation.__metadata__ if isinstance(mark, PartOf)]
        if marks:
            return Annotated[Any, WithJsonSchema({MARK: marks[0].kind})]
        return Annotated[(_with_marks(arguments[0]), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return Union[tuple(_with_marks(argument) for argument in arguments)]  # noqa: UP007 - built at run time
    if origin in (list, tuple, dict):
        return origin[tuple(_with_marks(argument) for argument in arguments)]
    return annotation
