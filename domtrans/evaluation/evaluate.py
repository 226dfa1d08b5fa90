"""Measure a trained transfer: in eval mode, with averaged weights, on every test image, by metrics that no loss used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from domtrans.data.domains import load_domain
from domtrans.data.image_set import ImageSet
from domtrans.errors import DomtransError
from domtrans.evaluation.results import KEYS
from domtrans.model.transfer import Transfer
from domtrans.recipe.overrides import override, parse
from domtrans.recipe.schema import Recipe
from domtrans.registry.registry import HOLDOUT, Registry
from domtrans.session import Session

CHANGEABLE = ("source", "target", "metrics")
"""Fields of a recipe that an evaluation may change: they say what is measured, not what was trained."""


class NotMeasurableError(DomtransError):
    """Raised by a metric that cannot measure this data, e.g. an accuracy without labels. The reason is recorded."""


@dataclass(frozen=True)
class MetricInput:
    """What a metric gets: a trained transfer and the data to measure it on. None of it reaches a loss.

    Attributes:
        transfer: G, in eval mode.
        source: Source test images.
        target_train: Real target training images with their labels, to fit an evaluator of the metric's own.
        target_test: Real target test images with their labels.
        session: Device, cache and processes to compute with.
        head_classes: Names of the classes that f's head was trained on, in its order; empty if they are unknown. The source
            may have others: compare by name (``align_labels``).
    """

    transfer: Transfer
    source: ImageSet
    target_train: ImageSet
    target_test: ImageSet
    session: Session
    head_classes: tuple[str, ...] = ()

    @cached_property
    def transferred(self) -> ImageSet:
        """G of the source images, with their labels and attributes. Computed once for all metrics."""
        source, session = self.source, self.session
        images = self.transfer.apply_to(source, group=session.group, on_batch=lambda *_: session.raise_if_stopped())
        return ImageSet(images, source.labels, source.classes, attributes=source.attributes)


Trial = MetricInput
"""The former name."""


def measure(transfer: Transfer, recipe: Recipe, registry: Registry, session: Session, classes: Sequence[str]) -> dict[str, Any]:
    """Compute all metrics of a recipe. The processes of ``session.group`` share the work, and all return the same.

    Args:
        transfer: The trained transfer.
        recipe: Names the data and the metrics.
        registry: The parts.
        session: Where to compute.
        classes: Names of the classes that f's head was trained on.

    Returns:
        ``{"source": "...", "target": "...", "accuracy": 0.93, "n": 2000, ...}``. A key that an earlier metric or domtrans
        itself uses has the metric's name in front: ``"digits.n"``. Metrics that cannot measure this data are under
        ``not_measured``, each with the reason.

    Raises:
        DomtransError: If the data cannot be loaded, or a metric returns something else than numbers.
    """
    session = session.during("evaluate")
    size = recipe.image_size
    session.progress(0, len(recipe.metrics) + 1)
    with session.group.main_process_first():
        inputs = MetricInput(
            transfer.to(session.device).eval(),
            load_domain(registry, recipe.source, "test", size),
            load_domain(registry, recipe.target, "train", size),
            load_domain(registry, recipe.target, "test", size),
            session,
            tuple(classes),
        )
    results: dict[str, Any] = {
        "source": inputs.source.about or recipe.source.name,
        "target": inputs.target_test.about or recipe.target.name,
    }
    results |= {"drawn_by": transfer.drawn_by} if transfer.drawn_by else {}
    failed: dict[str, str] = {}
    for done, (name, part) in enumerate(recipe.metrics.items(), 1):
        try:
            values = plain_numbers(registry.build("metric", part)(inputs), part.name)
            results |= {f"{name}.{key}" if key in results or key in KEYS else key: value for key, value in values.items()}
        except NotMeasurableError as reason:
            failed[name] = str(reason)
        session.progress(done + 1, len(recipe.metrics) + 1)
    if failed:
        results["not_measured"] = failed
    return results


def plain_numbers(returned: Any, metric: str) -> dict[str, Any]:
    """The values that a metric returned, as JSON can hold them.

    Args:
        returned: A dict of numbers, text, None, and nested lists of these. Arrays of numpy and torch become lists, and their
            scalars numbers.
        metric: The metric's name, for the message.

    Raises:
        DomtransError: For anything else.
    """
    if not isinstance(returned, Mapping):
        raise DomtransError(f"the metric '{metric}' must return a dict of named numbers, not {type(returned).__name__}")
    plain = {str(key): value.tolist() if hasattr(value, "tolist") else value for key, value in returned.items()}
    for key, value in plain.items():
        wrong = next((item for item in leaves(value) if not isinstance(item, int | float | str | None)), None)
        if wrong is not None:
            raise DomtransError(f"the metric '{metric}' gave {type(wrong).__name__} for '{key}', which is not a number")
    return plain


def leaves(value: Any) -> Iterator[Any]:
    """The items of nested lists; any other value itself."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def with_other_data(recipe: Recipe, changes: list[str] | tuple[str, ...] | Mapping[str, Any], registry: Registry) -> Recipe:
    """The recipe with other data or metrics to measure.

    A source that took no part in training needs no training split, so all of its images are measured: a domain with the
    option ``holdout`` gets 1, unless the changes set it.

    Raises:
        DomtransError: For a change to what was trained.
    """
    pairs = parse(changes)
    for path, _ in pairs:
        if path.partition(".")[0] not in CHANGEABLE:
            raise DomtransError(
                f"evaluate cannot change '{path}' of a trained run; it takes {', '.join(CHANGEABLE)} and their options"
            )
    changed = override(recipe, changes, registry)
    if changed.source != recipe.source and HOLDOUT in changed.source.options and not _sets_holdout(pairs):
        changed = override(changed, {f"source.{HOLDOUT}": 1.0}, registry)
    return changed


def _sets_holdout(pairs: list[tuple[str, Any]]) -> bool:
    return any(
        path == f"source.{HOLDOUT}" or (path == "source" and isinstance(value, Mapping) and HOLDOUT in value)
        for path, value in pairs
    )
