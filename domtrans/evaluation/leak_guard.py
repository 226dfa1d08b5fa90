"""Keep evaluators, labels and test images out of training, because they measure it."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from torch import Tensor, nn

from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.evaluation.label_free_score import SCORES
from domtrans.recipe.schema import Recipe
from domtrans.registry.parts import Part

NOTABLE_REPEATS = 0.01
"""Share of repeated test images above which the user is told; a few occur in real data."""

UNSUPERVISED, SOURCE_LABELS, ORACLE = "none of the target", "source labels", "supervised: oracle"
TARGET_PARAMETERS = "parameters of target drawings"
TARGET_LABELS = "labels of the target's domain in the fit of f"
"""The supervision in the results, by what the losses of g and the fit of f were given."""

FILE_OPTIONS = ("path", "root")
"""Options of domains that say which files are meant: "folder" of another path is another domain."""

Held = TypeVar("Held")

_training: ContextVar[bool] = ContextVar("training", default=False)
"""Whether evaluators are refused, because f, g or D is being trained."""


class Evaluator(nn.Module):
    """Base class of a network that a metric measures with. It is refused in training.

    An evaluator is fitted on labels that the method does not have, so its outputs must not reach f, g or D. DomtransError is
    raised if a part of a recipe holds an evaluator, and if one is called while f, g or D is trained. With ``oracle = true``
    in the recipe it is allowed, and the results say so.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the network; DomtransError while f, g or D is trained."""
        if _training.get():
            raise _refusal(f"the evaluator {type(self).__name__} was called while f, g or D is trained")
        return super().__call__(*args, **kwargs)


@contextmanager
def evaluators_kept_out(*, oracle: bool) -> Iterator[None]:
    """A block in which a call of an evaluator raises DomtransError, unless the recipe says ``oracle = true``."""
    token = _training.set(not oracle)
    try:
        yield
    finally:
        _training.reset(token)


def check_for_evaluators(parts: Mapping[str, object], *, oracle: bool) -> None:
    """Raise DomtransError if a part holds an evaluator at any depth, unless the recipe says ``oracle = true``."""
    for name, part in {} if oracle else parts.items():
        evaluator = find_held(part, Evaluator)
        if evaluator is not None:
            raise _refusal(f"{name} holds the evaluator {type(evaluator).__name__}")


def find_held(root: object, kind: type[Held]) -> Held | None:
    """The first object of a class that another object is or holds: in submodules, attributes, containers, closures, globals."""
    visited: dict[int, object] = {}  # holds the objects, so that Python does not use an id twice
    pending = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, kind):
            return item
        if id(item) not in visited and not isinstance(item, Tensor | str | bytes | types.ModuleType | type):
            visited[id(item)] = item
            pending += _children(item)
    return None


def supervision(recipe: Recipe, reads: Iterable[frozenset[str]]) -> str:
    """The supervision of a run, for the results; ``reads`` are the fields of Outputs that each loss reads."""
    if recipe.oracle:
        return ORACLE
    fields = frozenset().union(*reads)
    found = {
        SOURCE_LABELS: "source_labels" in fields,
        TARGET_PARAMETERS: "target_parameters" in fields,
        TARGET_LABELS: recipe.fit is not None and holds_domain_of(recipe.target, recipe.source),
    }
    return ", ".join(name for name, given in found.items() if given) or UNSUPERVISED


def holds_domain_of(target: Part, source: Part) -> bool:
    """Whether a source that is made of other domains, such as "extended", has the target's domain among them."""
    files = {name: target.options.get(name) for name in FILE_OPTIONS}
    pending: list[Any] = list(source.options.values())
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            if item.get("name") == target.name and {name: item.get(name) for name in FILE_OPTIONS} == files:
                return True
            pending += item.values()
        elif isinstance(item, list | tuple):
            pending += item
    return False


def check_search_value(name: str, losses: Iterable[str], measured: Iterable[str]) -> None:
    """Raise DomtransError unless a search may go by a value: one of the log, which no test image has a part in.

    Args:
        name: The value, e.g. "validation.score".
        losses: The losses that the log has.
        measured: Names of values and of metrics that are measured on test images.
    """
    known = [*SCORES, *losses]
    if name in known:
        return
    if name in measured:
        raise DomtransError(
            f"'{name}' is measured on test images, and a search by it would learn from them: its results would say nothing "
            f"about new images; search by {known[0]}, which needs no labels and no test images"
        )
    raise DomtransError(f"the log of this recipe has no value '{name}' to search by; it has {', '.join(known)}")


def count_repeated(train: ImageSet, test: ImageSet) -> int | None:
    """How many test images are among the training images, pixel for pixel.

    None if a set is not in memory: decoding millions of images for this would take longer than many trainings.
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


def _children(item: object) -> list[object]:
    """The objects that an object holds directly."""
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    if isinstance(item, functools.partial):
        return [item.func, *item.args, *item.keywords.values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    attributes = list(getattr(item, "__dict__", {}).values())
    return attributes + (list(_of_function(item)) if isinstance(item, types.FunctionType) else _methods(item))


def _methods(item: object) -> list[object]:
    """The methods of an object's class, without those of libraries."""
    bases = [base for base in type(item).__mro__ if not _is_library(base.__module__)]
    return [value for base in bases for value in vars(base).values() if isinstance(value, types.FunctionType)]


def _of_function(function: types.FunctionType) -> Iterator[object]:
    """The closure of a function, its defaults, and the globals that it names: networks, containers and functions."""
    if _is_library(function.__module__):
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # the variable has no value yet
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
    """Whether a module is of Python, torch, numpy or domtrans, whose code holds no evaluator."""
    return (module or "").partition(".")[0] in {"builtins", "abc", "typing", "torch", "numpy", "functools", "domtrans"}


def _refusal(reason: str) -> DomtransError:
    return DomtransError(
        f"{reason}; evaluators are fitted on labels that the method does not have, so use them in metrics only, or set "
        "oracle=true, and the results will say so"
    )
