"""What the result of a part depends on, for the keys of the cache."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from domtrans.registry.parts import Part, nested_parts
from domtrans.registry.registry import Registry


def identity(registry: Registry, kind: str, part: Part) -> dict[str, Any]:
    """The name of a part, its options, and a hash of its code and of that of its nested parts.

    The code of a part is that of its module, and of the modules of the same package that this one imports from.
    """
    code = hashlib.sha256()
    for factory in _factories(registry, kind, part):
        for module in _modules(factory):
            with suppress(TypeError, OSError):  # defined at a prompt: no file to read
                code.update(Path(inspect.getfile(module)).read_bytes())
    return {"name": part.name, "options": part.options, "code": code.hexdigest()[:16]}


def _factories(registry: Registry, kind: str, part: Part) -> Iterator[Callable[..., Any]]:
    yield registry.get(kind, part.name).factory
    options = registry.options(kind, part)
    for nested in nested_parts([getattr(options, name) for name in type(options).model_fields]):
        yield from _factories(registry, nested.kind, nested.part)


def _modules(factory: Callable[..., Any]) -> list[ModuleType]:
    """The module of a part, and those of its package that it imports from, directly or through others."""
    first = sys.modules.get(factory.__module__)
    found = [] if first is None else [first]
    for module in found:  # grows while it is read
        names = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(module).values()}
        package = module.__name__.partition(".")[0]
        inside = sorted(str(name) for name in names if str(name).startswith(f"{package}."))
        found += [sys.modules[name] for name in inside if name in sys.modules and sys.modules[name] not in found]
    return found
