"""Change a recipe by path: ``encoder=timm generator_losses.const.distance=cosine train.steps=2000``."""

from __future__ import annotations

import copy
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from domtrans.errors import DomtransError
from domtrans.recipe.schema import Recipe, make_recipe
from domtrans.registry.parts import Part, check_plain, did_you_mean
from domtrans.registry.registry import Registry

Overrides = Sequence[str] | Mapping[str, Any] | None
"""Changes to a recipe, as ``override`` takes them."""

NO_OPTIONS = ("allow_changes", "device", "out", "resume", "track")
"""Parameters of ``train`` that are easily taken for options of the recipe."""


def override(recipe: Recipe, assignments: Sequence[str] | Mapping[str, Any] | None, registry: Registry) -> Recipe:
    """Change paths of a recipe.

    Args:
        recipe: The recipe.
        assignments: ``"path=value"`` strings, or a mapping of paths to values, applied in order. A value may be a table of
            options, as in ``{"train": {"steps": 2000}}``: those that it does not name stay. A string's value is parsed as
            JSON, or is text if it is not valid JSON. A part that is set by name loses the options of the part before. The
            first name of a part in the assignments is set before the options that stand there. ``none`` removes an
            optional part or a loss term.
        registry: The parts.

    Returns:
        The changed recipe, resolved.

    Raises:
        DomtransError: For an unknown path or name, or a value of the wrong type.
    """
    data = recipe.model_dump(mode="json")
    leaves: list[tuple[list[str], Any]] = []
    for path, value in parse(assignments):
        _check_data(path, value)
        check_plain(value, f"'{path}'")
        leaves += _nested(path.split("."), value)
    for keys, leaf in _parts_first(leaves):
        _set(Recipe, data, keys, leaf, ".".join(keys))
    return make_recipe(data, f"recipe '{recipe.name}'").resolve(registry)


def _parts_first(leaves: Iterable[tuple[list[str], Any]]) -> list[tuple[list[str], Any]]:
    """The assignments, with the first name of a part before the options of this part, which it would discard otherwise."""
    ordered: list[tuple[list[str], Any]] = []
    for keys, value in leaves:
        place = len(ordered)
        if isinstance(value, str) and value != "none" and all(other != keys for other, _ in ordered):
            place = next((i for i, (other, _) in enumerate(ordered) if other[: len(keys)] == keys), place)
        ordered.insert(place, (keys, value))
    return ordered


def parse(assignments: Sequence[str] | Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """Path and value of every assignment; DomtransError for a string without "="."""
    if isinstance(assignments, str):
        raise DomtransError(f"changes are a list of path=value strings or a mapping, so write [{assignments!r}]")
    if assignments is None:
        return []
    return list(assignments.items()) if isinstance(assignments, Mapping) else [_parse(text) for text in assignments]


def assignment(path: str, value: Any) -> str:
    """The string that ``parse`` reads as this path and value. Text is quoted only if it would be read as JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return f"{path}={value}"
    return f"{path}={json.dumps(value)}"


def merge(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with a tree of changes applied, not resolved; ``where`` is for messages."""
    check_plain(changes, where)
    data = recipe.model_dump(mode="json")
    for key in changes:
        if key not in Recipe.model_fields:
            raise DomtransError(f"{where}: there is no option '{key}'{did_you_mean(key, Recipe.model_fields, 'options')}")
    for path, value in _leaves(Recipe, changes):
        _set(Recipe, data, path, value, ".".join(path))
    return make_recipe(data, where)


@dataclass(frozen=True)
class Difference:
    """A path at which two recipes differ. As a string: ``path: old value -> new value``.

    Attributes:
        path: The path.
        old: The value before, which may be None; "absent" if there was none.
        new: The value after, likewise.
    """

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def differences(old: Recipe | Mapping[str, Any], new: Recipe | Mapping[str, Any]) -> list[Difference]:
    """Every path at which two resolved recipes, or two tables as JSON holds them, differ."""
    before, after = flatten(old), flatten(new)
    paths = [path for path in before | after if before.get(path) != after.get(path)]
    return [Difference(path, before.get(path, "absent"), after.get(path, "absent")) for path in paths]


def flatten(recipe: Recipe | Mapping[str, Any]) -> dict[str, Any]:
    """A recipe or a table as a flat dict: ``{"seed": 0, ..., "source.name": "svhn", ...}``. A list is one value."""
    return _flatten(recipe.model_dump(mode="json") if isinstance(recipe, Recipe) else dict(recipe))


def _nested(keys: list[str], value: Any) -> list[tuple[list[str], Any]]:
    """The assignments of a table of options, as of train or of a part; any other value is one assignment."""
    annotation: Any = Recipe
    for depth, key in enumerate(keys):
        annotation = _annotation_of(annotation, key)
        if isinstance(annotation, type) and issubclass(annotation, Part) and depth < len(keys) - 1:
            return [(keys, value)]
    is_table = isinstance(value, Mapping) and value and "name" not in value
    if is_table and get_origin(annotation) is dict and not all(_names_part(item) for item in value.values()):
        return [leaf for key, item in value.items() for leaf in _nested([*keys, key], item)]
    if is_table and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [leaf for key, item in value.items() for leaf in _nested([*keys, key], item)]
    return [(keys, value)]


def _names_part(value: Any) -> bool:
    return isinstance(value, str | Part) or (isinstance(value, Mapping) and "name" in value)


def _check_data(path: str, value: Any) -> None:
    """Raise DomtransError for images in the place of a part."""
    if hasattr(value, "__len__") and not isinstance(value, str | Mapping | list | tuple):
        raise DomtransError(
            f"'{path}' cannot be {type(value).__name__}: a recipe holds names, numbers and tables; pass data from Python as "
            "train(..., source=X, target=Y), and anything else as a registered part"
        )


def _parse(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise DomtransError(f"'{text}' is not of the form path=value, e.g. train.steps=2000")
    try:
        return path, json.loads(value)
    except (ValueError, RecursionError):
        return path, value


def _set(annotation: Any, data: Any, keys: list[str], value: Any, path: str) -> None:
    """Set the value at ``keys``. ``annotation`` is the model that ``data`` is of, so that parts are treated as such."""
    _check_table(data, path)
    fields = annotation.model_fields
    key, rest = keys[0], keys[1:]
    if key not in fields:
        raise DomtransError(_unknown_option(path, key, fields))
    inner = _inner(fields[key].annotation)
    if get_origin(inner) is dict:
        if not rest:
            data[key] = {} if value in ("none", None) else value
            return
        data, key, rest, inner = data[key], rest[0], rest[1:], get_args(inner)[1]
        _check_table(data, path)
        if not key:
            raise DomtransError(f"'{path}' needs a name after the '.'")
        if not rest and value in ("none", None):
            data.pop(key, None)
            return
    if isinstance(inner, type) and issubclass(inner, Part):
        default = annotation.model_fields[key].default if annotation is not Recipe else None
        if rest and isinstance(default, Part):
            data.setdefault(key, default.model_dump(mode="json"))  # an earlier assignment may have emptied the table
        _set_part(data, key, rest, value, path, inner.kept)
    elif not rest:
        data[key] = None if value == "none" and path == "train.begin" else value
    elif isinstance(inner, type) and issubclass(inner, BaseModel):
        _set(inner, data.setdefault(key, {}), rest, value, path)  # an earlier assignment may have emptied the table
    else:
        raise DomtransError(f"there is no option '{path}': '{key}' is a plain value")


def _unknown_option(path: str, key: str, fields: Iterable[str]) -> str:
    if path in NO_OPTIONS:
        return f"'{path}' is not an option of a recipe; write --{path.replace('_', '-')}, or {path}= in Python"
    deeper = [known for known in _paths(Recipe) if known.endswith(f".{key}")] if path == key else []
    named = " or ".join(f"'{known}'" for known in deeper)
    hint = f" (did you mean {named}?)" if deeper else did_you_mean(key, fields, "options")
    return f"there is no option '{path}'{hint}"


def _paths(model: type[BaseModel]) -> Iterator[str]:
    """The paths of all fields of a model and of the models in it, without options of parts."""
    for name, field in model.model_fields.items():
        if issubclass(model, Part) and name in Part.model_fields:
            continue
        yield name
        inner = _inner(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{path}" for path in _paths(inner))


def _set_part(data: dict[str, Any], key: str, rest: list[str], value: Any, path: str, kept: tuple[str, ...]) -> None:
    """Set a part by name or table, or with ``rest`` one of its options; ``kept`` are its fields that a new name keeps."""
    if not rest:
        if isinstance(value, Mapping) and value and "name" not in value:
            raise DomtransError(
                f"'{path}' is a part, so its value needs a name; to change one of its options, set '{path}.{next(iter(value))}'"
            )
        before = data[key] if isinstance(data.get(key), dict) else {}
        if isinstance(value, str) and value != "none":
            data[key] = {field: before[field] for field in kept if field in before} | {"name": value}
        else:
            data[key] = None if value == "none" else copy.deepcopy(value)  # further assignments may change it
        return
    if data.get(key) is None:
        part = path.removesuffix("." + ".".join(rest))
        raise DomtransError(f"'{path}' is an option of a part that the recipe does not have; set the part first: {part}=NAME")
    node = data[key]
    _check_table(node, path)
    for step in rest[:-1]:  # options of nested parts: a bare name becomes a table that can take options
        child = node.get(step)
        node[step] = {"name": child} if isinstance(child, str) else child
        if not isinstance(node[step], dict):
            raise DomtransError(f"there is no option '{path}': '{step}' takes no options")
        node = node[step]
    last = rest[-1]
    nested = isinstance(node.get(last), dict) and "name" in node[last]
    if value == "none" and (nested or rest == ["weights"]):
        node[last] = None
    else:
        node[last] = {"name": value} if nested and isinstance(value, str) else value


def _check_table(data: Any, path: str) -> None:
    """Raise DomtransError if an earlier assignment replaced the table at a path by a plain value."""
    if not isinstance(data, dict):
        raise DomtransError(f"there is no option '{path}': {data!r} takes no options")


def _inner(annotation: Any) -> Any:
    """``X`` of ``X | None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    return annotation


def _leaves(annotation: Any, changes: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[list[str], Any]]:
    """The assignments that a tree of changes stands for.

    A table with a ``name`` replaces a whole part, and an empty table empties a table of parts or an option. An empty table
    in the place of a part, or of a group of options such as train, changes nothing.
    """
    leaves: list[tuple[list[str], Any]] = []
    for key, value in changes.items():
        inner = _annotation_of(annotation, key)
        has_fields = isinstance(inner, type) and issubclass(inner, BaseModel)
        if isinstance(value, Mapping) and "name" not in value and (value or has_fields):
            leaves += _leaves(inner, value, (*path, key))
        else:
            leaves.append(([*path, key], dict(value) if isinstance(value, Mapping) else value))
    return leaves


def _annotation_of(annotation: Any, key: str) -> Any:
    """The type at a key of a recipe, of one of its tables, or of a part; Any for options of parts."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    fields = annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}
    return _inner(fields[key].annotation) if key in fields else Any


def _flatten(data: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {path: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flatten(value, f"{path}.{key}" if path else key)
    return flat
