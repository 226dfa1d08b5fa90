"""Measure a trained transfer: eval mode, averaged weights, every test image, metrics that no loss has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.model.transfer import Transfer
from domtrans.recipe.overrides import override, parse
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import Registry
from domtrans.session import Session

CHANGEABLE = ("source", "target", "metrics")
"""Fields of a recipe that an evaluation may override: what is measured, not what was trained."""


class NotMeasurableError(DomtransError):
    """A metric cannot say anything about this data, e.g. an accuracy without labels. Recorded, not fatal."""


@dataclass(frozen=True)
class MetricInput:
    """What a metric gets: a trained transfer and the data to measure it on. None of it reaches a loss.

    Attributes:
        transfer: G, in eval mode.
        source: Source test images.
        target_train: Real target training images with their labels, to fit an evaluator of the metric's own.
        target_test: Real target test images with their labels.
        session: Device, cache and processes to compute with.
    """

    transfer: Transfer
    source: ImageSet
    target_train: ImageSet
    target_test: ImageSet
    session: Session

    @cached_property
    def transferred(self) -> ImageSet:
        """G of the source images, with their labels and attributes. Computed once for all metrics."""
        source = self.source
        images = self.transfer.apply_to(source, group=self.session.group)
        return ImageSet(images, source.labels, source.classes, attributes=source.attributes)


Trial = MetricInput
"""The former name."""


def measure(transfer: Transfer, recipe: Recipe, registry: Registry, session: Session) -> dict[str, Any]:
    """All metrics of a recipe: ``{"accuracy": 0.93, ..., "n": 2000, "source": "...", "target": "..."}``.

    A metric that cannot measure this data is named under ``not_measured`` with the reason. The processes of ``session.group``
    share the work, and all return the same.
    """
    session = session.during("evaluate")
    size = recipe.image_size
    session.report(0, len(recipe.metrics) + 1)
    with session.group.main_process_first():
        inputs = MetricInput(
            transfer.to(session.device).eval(),
            load_domain(registry, recipe.source, "test", size),
            load_domain(registry, recipe.target, "train", size),
            load_domain(registry, recipe.target, "test", size),
            session,
        )
    results: dict[str, Any] = {
        "source": inputs.source.about or recipe.source.name,
        "target": inputs.target_test.about or recipe.target.name,
    }
    missing: dict[str, str] = {}
    for done, (name, part) in enumerate(recipe.metrics.items(), 1):
        try:
            found = plain_numbers(registry.build("metric", part)(inputs), part.name)
            results |= {key if key not in results else f"{name}.{key}": value for key, value in found.items()}
        except NotMeasurableError as reason:
            missing[name] = str(reason)
        session.report(done + 1, len(recipe.metrics) + 1)
    if missing:
        results["not_measured"] = missing
    return results


def plain_numbers(found: Any, metric: str) -> dict[str, Any]:
    """A metric's figures as JSON can hold them: numbers, and lists of them as deep as a matrix or deeper.

    Numpy and torch arrays become lists, their scalars plain numbers. Raises DomtransError for anything else.
    """
    if not isinstance(found, Mapping):
        raise DomtransError(f"the metric '{metric}' must return a dict of named numbers, not {type(found).__name__}")
    plain = {str(key): value.tolist() if hasattr(value, "tolist") else value for key, value in found.items()}
    for key, value in plain.items():
        odd = next((item for item in leaves(value) if not isinstance(item, int | float | str | None)), None)
        if odd is not None:
            raise DomtransError(f"the metric '{metric}' gave {type(odd).__name__} for '{key}', which is not a number")
    return plain


def leaves(value: Any) -> Iterator[Any]:
    """The items of nested lists; of anything else, itself."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def with_other_data(recipe: Recipe, changes: list[str] | tuple[str, ...] | Mapping[str, Any], registry: Registry) -> Recipe:
    """The recipe with other data to measure on.

    Source data that was no part of the training has nothing to hold back: a domain with a ``holdout`` option is measured
    on all of its images unless the changes say otherwise. Raises DomtransError for changes to what was trained.
    """
    pairs = parse(changes)
    for path, _ in pairs:
        if path.partition(".")[0] not in CHANGEABLE:
            raise DomtransError(
                f"evaluate cannot change '{path}' of a trained run; it takes {', '.join(CHANGEABLE)} and their options"
            )
    changed = override(recipe, changes, registry)
    said = any(path == "source.holdout" or (path == "source" and "holdout" in _table(value)) for path, value in pairs)
    if "holdout" in changed.source.options and changed.source != recipe.source and not said:
        changed = override(changed, {"source.holdout": 1.0}, registry)
    return changed


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
