"""What the result of a part depends on, for the keys of the cache."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from domtrans.registry.parts import Part, nested_parts
from domtrans.registry.registry import Registry


def identity(registry: Registry, kind: str, part: Part) -> dict[str, Any]:
    """The name of a part, its options, and a hash of the code of its module and of its nested parts."""
    code = hashlib.sha256()
    for factory in _factories(registry, kind, part):
        with suppress(TypeError, OSError):  # defined at a prompt: no file to read
            code.update(Path(inspect.getfile(factory)).read_bytes())
    return {"name": part.name, "options": part.options, "code": code.hexdigest()[:16]}


def _factories(registry: Registry, kind: str, part: Part) -> Iterator[Callable[..., Any]]:
    yield registry.get(kind, part.name).factory
    options = registry.options(kind, part)
    for nested in nested_parts([getattr(options, name) for name in type(options).model_fields]):
        yield from _factories(registry, nested.kind, nested.part)
