"""Recipe files as JSON Schema (draft 7), with the parts of all installed plugins and their options."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from domtrans.recipe.schema import PART_KINDS, EncoderPart, OptimizerConfig, Recipe, Term
from domtrans.registry.docstrings import parse_docstring
from domtrans.registry.json_schema import kind_definitions, type_schema
from domtrans.registry.parts import Part
from domtrans.registry.registry import KINDS, Registry

ENCODER, TERM, OPTIMIZER = "recipe-encoder", "term", "recipe-optimizer"
"""Definitions of parts that have fields of their own in a recipe."""


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """The JSON Schema of recipe files, with which an editor completes and checks them.

    A file that satisfies the schema may still be refused: what depends on several options is checked by domtrans alone.

    Args:
        registry: The parts, e.g. ``load_plugins().registry``.

    Returns:
        The schema, as plain values.
    """
    definitions = dict[str, Any]()
    for kind in KINDS:
        if kind not in ("recipe", "study", "tracker", "detector"):
            definitions |= kind_definitions(registry, kind, kind, {})
    definitions |= kind_definitions(registry, "encoder", ENCODER, _own_fields(EncoderPart))
    definitions |= kind_definitions(registry, "loss", TERM, _own_fields(Term))
    definitions |= kind_definitions(registry, "optimizer", OPTIMIZER, _own_fields(OptimizerConfig))
    properties, required = _fields(Recipe)
    extends = {
        "type": "string",
        "description": "The recipe that this one changes: a registered name, a file or a run.",
        "anyOf": [{"enum": registry.names("recipe")}, {}],
    }
    needs_names: dict[str, Any] = {field: {"required": ["name"]} for field in PART_KINDS if field not in _tables()}
    needs_names |= {field: {"additionalProperties": {"required": ["name"]}} for field in _tables()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A domtrans recipe",
        "description": parse_docstring(inspect.getdoc(Recipe) or "").summary,
        "type": "object",
        "properties": {"$schema": {"type": "string", "description": "This schema."}, "extends": extends, **properties},
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": {"required": required, "properties": needs_names},
        "definitions": definitions,
    }


def _fields(model: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
    """The schema of every field of a model, and the names of those that must be given."""
    texts, schemas = field_docstrings(model), {}
    for name, field in model.model_fields.items():
        schema = _schema_of(name, field.annotation, field.metadata)
        if name in texts:
            schema = ({"allOf": [schema]} if "$ref" in schema else schema) | {"description": texts[name]}
        if isinstance(field.default, str | int | float | bool):
            schema["default"] = field.default
        schemas[name] = schema
    return schemas, [name for name, field in model.model_fields.items() if field.is_required()]


def _schema_of(name: str, annotation: Any, metadata: list[Any]) -> dict[str, Any]:
    if name in PART_KINDS:
        part = _part_type(annotation)
        definition = {EncoderPart: ENCODER, Term: TERM}.get(part, PART_KINDS[name])
        reference = {"$ref": f"#/definitions/{definition}"}
        return {"type": "object", "additionalProperties": reference} if name in _tables() else reference
    if annotation is OptimizerConfig:
        return {"$ref": f"#/definitions/{OPTIMIZER}"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        properties, _ = _fields(annotation)
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return type_schema(_annotated(annotation, metadata))


def _annotated(annotation: Any, metadata: list[Any]) -> Any:
    """The annotation with the limits that pydantic moved from it into the metadata of the field."""
    return Annotated[(annotation, *metadata)] if metadata else annotation


def _own_fields(model: type[Part]) -> dict[str, Any]:
    """The schemas of the fields that a kind of part has besides its name and options."""
    texts = parse_docstring(inspect.getdoc(model) or "").arguments
    schemas, _ = _fields(model)
    return {
        name: schema | ({"description": texts[name]} if name in texts else {})
        for name, schema in schemas.items()
        if name not in Part.model_fields
    }


def _part_type(annotation: Any) -> Any:
    """The class of part in ``X``, ``X | None`` or ``dict[str, X]``."""
    parts = [item for item in (annotation, *get_args(annotation)) if isinstance(item, type) and issubclass(item, Part)]
    return parts[0]


def _tables() -> list[str]:
    """The fields of a recipe that are tables of parts by name."""
    return [name for name, field in Recipe.model_fields.items() if name in PART_KINDS and get_origin(field.annotation) is dict]


@functools.cache  # a second reading would differ if the file is edited in between
def field_docstrings(model: type[BaseModel]) -> Mapping[str, str]:
    """The string below each field in the source of a model; empty if the source is not there."""
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(node, ast.ClassDef)
    texts = {}
    for statement, below in zip(node.body, node.body[1:], strict=False):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(statement, ast.AnnAssign) and isinstance(text, str):
            texts[ast.unparse(statement.target)] = " ".join(text.split())
    return texts
