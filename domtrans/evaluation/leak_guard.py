"""Nothing that measures may teach: how the engine keeps evaluators, labels and test images out of what g learns from."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError

MANY = 0.01
"""Share of repeated test images that is worth a word; a few occur in real data."""

NONE, LABELS, ORACLE = "none of the target", "source labels", "supervised: oracle"
"""What the results say of the supervision of g, by what its losses were given."""

_learning: ContextVar[bool] = ContextVar("learning", default=False)


class Evaluator(nn.Module):
    """A network that a metric measures with. Being one keeps it out of training.

    It was fitted on labels that the method does not have, so whatever it says of an image must not reach f, g or D. A
    recipe of which any part holds an Evaluator, and any call of one while f, g or D learns, raises DomtransError, unless
    the recipe says ``oracle = true``; then its results say so too.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As any network is called; refused while f, g or D learns."""
        if _learning.get():
            raise _refusal(f"the evaluator {type(self).__name__} was called while f, g or D learns")
        return super().__call__(*args, **kwargs)


@contextmanager
def evaluators_kept_out(*, oracle: bool) -> Iterator[None]:
    """A block in which calling an evaluator is refused, unless the recipe is an oracle's."""
    token = _learning.set(not oracle)
    try:
        yield
    finally:
        _learning.reset(token)


def check_for_evaluators(parts: Mapping[str, object], *, oracle: bool) -> None:
    """Raise DomtransError if a part of an experiment holds an evaluator at any depth, unless the recipe is an oracle's."""
    for name, part in {} if oracle else parts.items():
        found = find_evaluator(part)
        if found is not None:
            raise _refusal(f"{name} holds the evaluator {type(found).__name__}")


def find_evaluator(thing: object) -> Evaluator | None:
    """The first evaluator in what a thing holds: submodules, attributes, containers, closures, and globals it names."""
    seen: dict[int, object] = {}  # the objects are kept, so that no id is given out twice
    left = [thing]
    while left:
        item = left.pop()
        if isinstance(item, Evaluator):
            return item
        if id(item) not in seen and not isinstance(item, Tensor | str | bytes | types.ModuleType | type):
            seen[id(item)] = item
            left += _within(item)
    return None


def supervision(oracle: bool, reads: Iterable[frozenset[str]]) -> str:
    """What g was taught with, for the results: ``reads`` are the fields that each loss reads."""
    if oracle:
        return ORACLE
    return LABELS if any("source_labels" in fields for fields in reads) else NONE


def repeated(train: ImageSet, test: ImageSet) -> int | None:
    """How many test images occur, pixel for pixel, among the training images; None where a set is not in memory.

    To decode millions of images for it would take longer than many a training.
    """
    if not (train.in_memory and test.in_memory):
        return None
    if train.shape[1:] != test.shape[1:]:
        return 0
    known = set(_digests(train))
    return sum(digest in known for digest in _digests(test))


def _digests(images: ImageSet) -> Iterator[bytes]:
    for image in images.images.cpu().contiguous().numpy():
        yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _within(item: object) -> list[object]:
    """What an object holds, one step deep."""
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    if isinstance(item, functools.partial):
        return [item.func, *item.args, *item.keywords.values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    held = list(getattr(item, "__dict__", {}).values())
    return held + (list(_of_function(item)) if isinstance(item, types.FunctionType) else _methods(item))


def _methods(item: object) -> list[object]:
    """The functions of an object's class, but for those of libraries."""
    bases = [base for base in type(item).__mro__ if not _is_library(base.__module__)]
    return [value for base in bases for value in vars(base).values() if isinstance(value, types.FunctionType)]


def _of_function(function: types.FunctionType) -> Iterator[object]:
    """What a function closes over, its defaults, and the networks, tables and neighbours among the globals it names."""
    if _is_library(function.__module__):
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for name in code.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, nn.Module | Mapping | list | tuple | types.FunctionType):
                yield value


def _is_library(module: str | None) -> bool:
    """Whether code is of Python, torch or the engine itself, where no evaluator can hide."""
    return (module or "").partition(".")[0] in {"builtins", "abc", "typing", "torch", "numpy", "functools", "domtrans"}


def _refusal(what: str) -> DomtransError:
    return DomtransError(
        f"{what}: what it says comes from labels that the method does not have; leave it to the metrics, or set oracle=true, "
        "and the results will say so"
    )
